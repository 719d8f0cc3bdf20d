// Uses the dashboard of a site that holds a hundred thousand pages, while visitors come, and compares what it shows with
// what has to be there.
//   node many.mjs …      (see common.mjs)
// The site is `tests/common/shelves.rs`: what each of its pages is follows from its number. Its clock stands still.
import assert from "node:assert/strict";
import { setTimeout as pause } from "node:timers/promises";
import { LIMIT_MS, begin, dashboard, enter, inState, invalidation, narrowed, pictures, play, row, token, visit, widened } from "./common.mjs";

const A_PAGE = 50;
const MOST_EVENTS = 200;
// All that the page is made of, a full table and a full list of events among it.
const MOST_ELEMENTS = 5000;

const FILLED = [7, 2, 9, 4, 0, 5, 1, 8, 3, 6];
const STATES = { 2: "stale", 5: "expired", 8: "pass" };
const SLOW = [4_321, 16_821, 29_321, 41_821, 54_321, 66_821, 79_321, 91_821];
const BROKEN = [20_003, 22_503, 25_003, 27_503];
// Whom the visitors ask for, again and again: of fresh shelves.
const BUSY = [77, 10_077, 33_333, 45_077, 60_077, 65_077, 75_077, 99_977];

// The pages by number, which is by path, with what they are sorted by.
const PAGES = (() => {
  const pages = Array.from({ length: 100_000 }, (_, number) => {
    const shelf = Math.floor(number / 10_000);
    const state = STATES[shelf] ?? "fresh";
    return {
      number, shelf, state, path: `/shelves/${shelf}/${String(number).padStart(5, "0")}`,
      // Of one that is not kept, nothing is known but that it is not.
      size: state === "pass" ? -1 : (number * 7_919) % 1_000,
      render: state === "pass" ? -1 : SLOW.indexOf(number) + 1,
      // Of the slow ones there was a HIT each while the shelves were filled.
      hits: BUSY.includes(number) ? Infinity : SLOW.includes(number) ? 1 : 0,
      failures: BROKEN.includes(number) ? 1 : 0,
    };
  });
  let filled = 0;
  for (const number of SLOW) pages[number].age = -(filled += 1);
  for (const shelf of FILLED) {
    filled += 1;
    for (const page of pages.slice(shelf * 10_000, (shelf + 1) * 10_000)) page.age ??= page.state === "pass" ? -Infinity : -filled;
  }
  return pages;
})();

const paths = (pages) => pages.map((page) => page.path);
const ranked = (by, sign) => [...PAGES].sort((a, b) => (by === "path" || a[by] === b[by] ? 0 : a[by] < b[by] ? -sign : sign) || a.number - b.number);
const part = (pages, number) => paths(pages.slice((number - 1) * A_PAGE, number * A_PAGE));

// Visitors, one after the other, until they are told to stop; the first answer that is no HIT fails the test.
function crowd() {
  const told = { visits: 0, stop: false };
  told.ended = (async () => {
    while (!told.stop) {
      for (const number of BUSY) await visit(PAGES[number].path, "HIT");
      told.visits += BUSY.length;
      await pause(20);
    }
  })();
  // Told when it is waited for.
  told.ended.catch(() => {});
  return told;
}

// Every call of the API, and those that got no answer.
function answers(page) {
  const calls = { open: new Set(), answered: 0, lost: [] };
  const counts = (request) => /\/api\/(?!events)/.test(request.url());
  page.on("request", (request) => counts(request) && calls.open.add(request));
  page.on("requestfinished", (request) => {
    if (calls.open.delete(request)) calls.answered += 1;
  });
  page.on("requestfailed", (request) => {
    if (calls.open.delete(request)) calls.lost.push(`${request.url()}: ${request.failure()?.errorText}`);
  });
  return calls;
}

// Exactly these rows, in this order; what is there instead is told.
async function rowsAre(page, wanted, what) {
  const same = (paths) => {
    const rows = [...document.querySelectorAll("#rows tr")];
    return rows.length === paths.length && rows.every((tr, i) => tr.dataset.path === paths[i]);
  };
  try {
    await page.waitForFunction(same, wanted);
  } catch (error) {
    const there = await page.locator("#rows tr").evaluateAll((rows) => rows.map((tr) => tr.dataset.path));
    assert.deepEqual(there, wanted, `${what}: the rows (${error.message})`);
  }
  await bounded(page, what);
}

const count = (page, text) => page.locator("#entries-count", { hasText: new RegExp(`^${text}$`) }).waitFor();
const pageIs = (page, text) => page.locator("#page-now", { hasText: new RegExp(`^${text}$`) }).waitFor();

async function bounded(page, what) {
  const there = await page.evaluate(() => ({
    rows: document.querySelectorAll("#rows tr").length,
    events: document.querySelectorAll("#event-list li").length,
    all: document.querySelectorAll("*").length,
  }));
  assert.ok(there.rows <= A_PAGE && there.events <= MOST_EVENTS && there.all <= MOST_ELEMENTS, `${what}: ${JSON.stringify(there)} elements`);
}

async function sorts(page) {
  const columns = { path: [-1, 1], age: [1, -1], size: [-1, 1], render: [-1, 1], failures: [-1, 1] };
  for (const [by, signs] of Object.entries(columns)) {
    begin(`sorted by ${by}, both ways, and the second page of each`);
    for (const sign of signs) {
      // Of paths there is one each: backwards is the whole order backwards.
      const wanted = by === "path" && sign < 0 ? [...PAGES].reverse() : ranked(by, sign);
      await page.locator(`th[data-sort="${by}"] button`).click();
      await page.locator(`th[data-sort="${by}"][aria-sort="${sign > 0 ? "ascending" : "descending"}"]`).waitFor();
      await rowsAre(page, part(wanted, 1), `${by} ${sign}`);
      await page.locator("#page-next").click();
      await pageIs(page, "Page 2 of 2,000");
      await rowsAre(page, part(wanted, 2), `${by} ${sign}, page 2`);
    }
  }
}

async function sortsByHits(page) {
  begin("sorted by hits, those that are asked for come first, and their numbers grow without a reload");
  await page.locator('th[data-sort="hits"] button').click();
  // In which order they come is another a moment later.
  const most = ranked("hits", -1);
  await page.waitForFunction(([busy, next, known]) => {
    const rows = [...document.querySelectorAll("#rows tr")];
    const hits = rows.map((tr) => Number(tr.querySelector('[data-label="Hits"]').textContent.replaceAll(",", "")));
    const first = rows.slice(0, busy.length).map((tr) => tr.dataset.path).sort();
    return first.join() === busy.join() && rows.slice(busy.length).map((tr) => tr.dataset.path).join() === next.join()
      && hits.every((n, i) => (i < busy.length ? n > 1 : n === known[i]));
  }, [part(most, 1).slice(0, BUSY.length), part(most, 1).slice(BUSY.length), most.slice(0, A_PAGE).map((found) => found.hits)]);
  const hits = row(page, PAGES[BUSY[0]].path).locator('[data-label="Hits"]');
  const before = await hits.textContent();
  await page.waitForFunction(([path, old]) => document.querySelector(`#rows tr[data-path="${path}"] [data-label="Hits"]`)?.textContent !== old, [PAGES[BUSY[0]].path, before]);
  await page.locator('th[data-sort="hits"] button').click();
  await rowsAre(page, part(ranked("hits", 1), 1), "fewest hits");
}

async function turns(page) {
  begin("to the last page, and back");
  await page.locator('th[data-sort="path"] button').click();
  await rowsAre(page, part(PAGES, 1), "the first page");
  await page.locator("#page-last").click();
  await pageIs(page, "Page 2,000 of 2,000");
  await rowsAre(page, part(PAGES, 2000), "the last page");
  assert.equal(await page.locator("#page-next").getAttribute("aria-disabled"), "true", "there is more after the last page");
  await page.locator("#page-back").click();
  await rowsAre(page, part(PAGES, 1999), "the last page but one");
  await page.locator("#page-first").click();
  await pageIs(page, "Page 1 of 2,000");
  await rowsAre(page, part(PAGES, 1), "the first page again");
}

async function filters(page) {
  begin("filtered by tag, typed and clicked, by path and by state");
  const shows = async (found, what) => {
    const pages = Math.ceil(found.length / A_PAGE);
    await rowsAre(page, part(found, 1), what);
    await count(page, `${found.length.toLocaleString("en")} of 100,000`);
    if (pages > 1) await pageIs(page, `Page 1 of ${pages.toLocaleString("en")}`);
    else assert.equal(await page.locator("#pager").isVisible(), false, `${what}: one page has a pager`);
  };
  const tag = page.locator("#tag");
  await tag.fill("ending:042");
  await shows(PAGES.filter(({ number }) => number % 1000 === 42), "ending:042");
  await row(page, PAGES[3_042].path).locator(".chip.tag", { hasText: "shelf:0" }).click();
  assert.equal(await tag.inputValue(), "shelf:0", "the tag that was clicked");
  await shows(PAGES.slice(0, 10_000), "shelf:0");
  await page.locator("#state").selectOption("stale");
  await page.locator("#entries-empty", { hasText: "No entry matches" }).waitFor();
  await tag.fill("");
  for (const state of ["stale", "expired", "pass", "fresh"]) {
    await page.locator("#state").selectOption(state);
    const found = PAGES.filter((held) => held.state === state);
    await shows(found, state);
  }
  await page.locator("#state").selectOption("");
  await page.locator("#prefix").fill("/shelves/3/312");
  await shows(PAGES.slice(31_200, 31_300), "a prefix");
  await page.locator("#prefix").fill("7777");
  await shows(PAGES.filter(({ path }) => path.includes("7777")), "a part of a path");
}

async function floods(page) {
  begin("of more events than anybody reads, the newest are kept");
  const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
  for (let n = 1; n <= 2 * MOST_EVENTS; n += 1) {
    const body = JSON.stringify({ paths: [`/nothing/${n}`] });
    const answer = await fetch(`${dashboard}/api/expire`, { method: "POST", headers, body, signal: AbortSignal.timeout(LIMIT_MS) });
    assert.equal(answer.status, 200, await answer.text());
  }
  await invalidation(page, `/nothing/${2 * MOST_EVENTS}`).waitFor();
  await bounded(page, "after many events");
}

const ONE = PAGES[47_777];

async function reads(page) {
  begin("the panel of an entry has all of it, and explain the reason");
  const chips = row(page, ONE.path).locator(".chip");
  assert.deepEqual(await chips.allTextContents(), ["shelf:4", "ending:777", "author:2", "+2"], "the tags in the row");
  await chips.last().click();
  for (const tag of ["shelf:4", "ending:777", "author:2", "lang:fr", "everything"]) {
    await page.locator("#details dd .chip.tag", { hasText: new RegExp(`^${tag}$`) }).waitFor();
  }
  await page.locator("#details dd", { hasText: "/shelves/{shelf}/{number}" }).waitFor();
  await page.locator('#details [data-action="explain"]').click();
  await page.locator('#explain-report[data-failed="no"] .badge[data-state="hit"]').waitFor();
  await page.locator("#explain-what").selectOption("tag");
  await page.locator("#explain-name").fill("shelf:3");
  await page.locator("#explain-form button").click();
  await page.locator("#explain-report .sentence", { hasText: "10,000 pages and 0 cached values here carry shelf:3" }).waitFor();
}

async function expires(page) {
  begin("one is expired, is seen to be, and is there anew for who asks");
  await row(page, ONE.path).locator('[data-action="expire"]').click();
  await page.locator("#toast", { hasText: `Expired path ${ONE.path}` }).waitFor();
  await inState(page, ONE.path, "expired");
  await invalidation(page, ONE.path).waitFor();
  await page.locator("#state").selectOption("expired");
  const expired = PAGES.filter(({ path, state }) => path.includes("7777") && state === "expired");
  await rowsAre(page, paths([ONE, ...expired]), "what is expired");
  await visit(ONE.path, "MISS");
  await rowsAre(page, paths(expired), "what is still expired");
  await page.locator("#filters-clear").click();
  await rowsAre(page, part(PAGES, 1), "without filters");
  await count(page, "100,000 held");
}

async function narrow(page) {
  begin("at 360 pixels nothing is wider than the window");
  await narrowed(page);
  await page.waitForFunction(() => document.documentElement.scrollWidth <= innerWidth);
  await widened(page);
}

async function shown(page) {
  begin("pictures");
  await page.locator('th[data-sort="hits"] button').click();
  await row(page, PAGES[BUSY[0]].path).waitFor();
  await page.locator("#toast").waitFor({ state: "hidden" });
  await pictures(page, "many");
}

await play({
  refusals: [[401, /\/api\/stats$/]],
  async act(page) {
    const calls = answers(page);
    const visitors = crowd();
    try {
      await page.goto(dashboard);
      await page.locator("#login-form").waitFor();
      await enter(page);
      begin("all hundred thousand are held");
      await count(page, "100,000 held");
      await page.locator("#memory-all", { hasText: "100,000 entries" }).waitFor();
      await rowsAre(page, part(PAGES, 1), "at first");
      for (const act of [sorts, sortsByHits, turns, filters, floods, reads, expires, shown, narrow]) await act(page);
    } finally {
      visitors.stop = true;
    }
    begin("every visitor got a HIT, and the page every answer that it asked for");
    await visitors.ended;
    assert.ok(visitors.visits > 0, "nobody came");
    // The page goes on to ask: an answer to each of those that are open now.
    const open = [...calls.open];
    const late = pause(LIMIT_MS, "late", { ref: false });
    for (const request of open) assert.notEqual(await Promise.race([request.response().then((answer) => answer?.finished()), late]), "late", request.url());
    assert.deepEqual(calls.lost, [], "calls without an answer");
    assert.ok(calls.answered > 30, `${calls.answered} answers`);
    console.log(`  ${visitors.visits} visits, ${calls.answered} answers`);
  },
});
