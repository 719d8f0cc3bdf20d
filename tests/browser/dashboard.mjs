// Uses the dashboard as a person does, in a real browser, and says what is wrong.
//   node dashboard.mjs … <control URL>      (see common.mjs)
// The site's cache is empty at first. It has `/posts/{slug}`: fresh for a minute, expired much later, with the tag `post:{slug}`.
// Its clock only moves by `POST {control}/advance?secs=…`, and its renders wait while `POST {control}/gate?open=0` holds them.
import assert from "node:assert/strict";
import {
  LIMIT_MS, begin, dashboard, enter, inState, invalidation, login, more, narrowed, pictures, play, row, token, visit, widened,
} from "./common.mjs";

const [control] = more;
// What would run if text were taken for HTML; the second is not one segment of a path.
const IMAGE = "<img src=x onerror=window.hacked=1>";
const HOSTILE = `${IMAGE}<script>window.hacked=2</script>`;

// Without a login, of a path that is none, an entry that has gone, and what this test itself refuses.
const REFUSALS = [[401, /\/(api\/[a-z]+|login)(\?|$)/], [400, /\/api\/(revalidate|expire)$/], [404, /\/api\/entry\?id=[^&]*$/], [503, /\/api\/events$/]];

async function steer(command) {
  const response = await fetch(`${control}/${command}`, { method: "POST", signal: AbortSignal.timeout(LIMIT_MS) });
  assert.ok(response.ok, `${control}/${command} answers ${response.status}`);
}

const event = (page, state, path) => page.locator(`#event-list li[data-event="${state}"][data-path="${path}"]`).first();

async function wrongToken(page) {
  begin("a wrong token is refused with a message, and shows nothing");
  await page.goto(dashboard);
  await page.locator("#login-form").waitFor();
  await login(page, "not-the-token");
  await page.waitForFunction(() => document.querySelector("#login-error").textContent.length > 5);
  assert.equal(await page.locator("#app").isVisible(), false, "the dashboard is to be seen");
  assert.equal(await page.locator("#rows tr").count(), 0, "there are entries");
  const status = await page.evaluate(async (url) => (await fetch(url)).status, `${dashboard.replace(/\/$/, "")}/api/stats`);
  assert.equal(status, 401, "the API answers without a token");
}

async function lives(page) {
  begin("a page goes MISS, HIT, STALE, HIT, and the table and the events show it without a reload");
  await page.evaluate(() => (window.sameDocument = true));
  const path = "/posts/live";
  await visit(path, "MISS");
  await event(page, "miss", path).waitFor();
  await inState(page, path, "fresh");
  const hits = row(page, path).locator('td[data-label="Hits"]');
  const before = Number(await hits.textContent());
  await visit(path, "HIT");
  await event(page, "hit", path).waitFor();
  await page.waitForFunction(([p, n]) => Number(document.querySelector(`#rows tr[data-path="${p}"] td[data-label="Hits"]`)?.textContent) === n, [path, before + 1]);

  await steer("gate?open=0");
  await steer("advance?secs=61");
  await visit(path, "STALE");
  await event(page, "stale", path).waitFor();
  await inState(page, path, "stale");
  await steer("gate?open=1");
  await event(page, "regeneration", path).waitFor();
  await inState(page, path, "fresh");
  const seen = await page.locator(`#event-list li[data-event="hit"][data-path="${path}"]`).count();
  await visit(path, "HIT");
  await page.waitForFunction(([p, n]) => document.querySelectorAll(`#event-list li[data-event="hit"][data-path="${p}"]`).length > n, [path, seen]);
  assert.equal(await page.evaluate(() => window.sameDocument), true, "the page was loaded anew");
  await page.locator("#rate-all", { hasText: /^[1-9]/ }).waitFor();
  await page.locator("#saved-now", { hasText: "under a second" }).waitFor();
  await page.locator('.route[data-route="/posts/{slug}"] .chart[data-kind="ratio"] .line[d^="M"]').waitFor({ state: "attached" });
}

// Waits until the server's numbers have come once more.
async function ticks(page) {
  const line = '.route .chart[data-kind="rate"] .line';
  const before = await page.locator(line).first().getAttribute("d");
  await page.waitForFunction(([found, old]) => document.querySelector(found).getAttribute("d") !== old, [line, before]);
}

async function ages(page) {
  begin("an age grows with the server's clock, and is never ahead of it");
  const path = "/posts/watched";
  await visit(path, "MISS");
  await row(page, path).waitFor();
  await page.evaluate((aged) => {
    const cell = document.querySelector(`#rows tr[data-path="${aged}"] .age span`);
    window.ages = [];
    new MutationObserver(() => window.ages.push(cell.textContent)).observe(cell, { childList: true, characterData: true, subtree: true });
  }, path);
  const wanted = [];
  for (let secs = 5; secs <= 20; secs += 5) {
    await steer("advance?secs=5");
    // The table is loaded anew, whenever that is between two ticks.
    await visit(`/posts/watched-${secs}`, "MISS");
    await row(page, `/posts/watched-${secs}`).waitFor();
    await row(page, path).locator(".age", { hasText: `${secs} s of 1 min` }).waitFor();
    await ticks(page);
    wanted.push(`${secs} s of 1 min`);
  }
  assert.deepEqual(await page.evaluate(() => window.ages), wanted, "the ages that were shown");
}

async function expires(page) {
  begin("expire on the row shows at once, and the next visitor waits");
  const path = "/posts/live";
  await row(page, path).locator('[data-action="expire"]').click();
  await page.waitForFunction((p) => {
    const found = document.querySelector(`#rows tr[data-path="${p}"]`);
    return !found || found.dataset.state === "expired";
  }, path);
  await page.locator("#toast", { hasText: "Expired" }).waitFor();
  await invalidation(page, path).waitFor();
  await visit(path, "MISS");
  await inState(page, path, "fresh");
}

async function revalidates(page) {
  begin("a tag is revalidated by the form, and the report says so");
  const path = "/posts/live";
  await page.locator("#change-what").selectOption("tags");
  await page.locator("#change-name").fill("post:live");
  await page.locator("#change-form input[value=revalidate]").check();
  await steer("gate?open=0");
  await page.locator("#change-submit").click();
  await page.locator('#change-report[data-failed="no"]', { hasText: "Revalidated tag post:live" }).waitFor();
  await inState(page, path, "stale");
  await visit(path, "STALE");
  await steer("gate?open=1");
  await inState(page, path, "fresh");

  begin("what the server refuses is reported");
  await page.locator("#change-what").selectOption("paths");
  await page.locator("#change-name").fill("no-slash");
  await page.locator("#change-submit").click();
  await page.locator('#change-report[data-failed="yes"]').waitFor();

  begin("everything is only invalidated when it was confirmed");
  await page.locator("#change-what").selectOption("all");
  await page.locator("#change-submit").click();
  await page.locator("#confirm-no").click();
  await page.locator("#confirm").waitFor({ state: "hidden" });
  assert.equal(await row(page, path).getAttribute("data-state"), "fresh", "revalidated without a yes");
  await steer("gate?open=0");
  await page.locator("#change-submit").click();
  await page.locator("#confirm-yes").click();
  await page.locator('#change-report[data-failed="no"]', { hasText: "everything" }).waitFor();
  await inState(page, path, "stale");
  await steer("gate?open=1");
  await page.locator("#change-what").selectOption("tags");
  await page.locator("#change-name").fill("post:live");
  await page.locator("#change-form input[value=regenerate]").check();
  await page.locator("#change-submit").click();
  await page.locator('#change-report[data-failed="no"]', { hasText: "Regenerated tag post:live" }).waitFor();
  await inState(page, path, "fresh");
}

async function explains(page) {
  begin("the panel of an entry tells its facts, and explain tells the reason");
  await row(page, "/posts/live").locator('[data-do="details"]').click();
  await page.locator("#details dd", { hasText: "post:live" }).waitFor();
  await page.locator("#details dd", { hasText: "/posts/{slug}" }).waitFor();
  await page.locator('#details [data-action="explain"]').click();
  await page.locator("#details").waitFor({ state: "hidden" });
  await page.locator('#explain-report[data-failed="no"] .badge[data-state="hit"]').waitFor();
  const sentence = await page.locator("#explain-report .sentence").textContent();
  assert.ok(sentence.length > 10, `no reason: ${sentence}`);
  await page.locator("#explain-report dd", { hasText: "v1:" }).waitFor();
  await page.locator("#explain-what").selectOption("tag");
  await page.locator("#explain-name").fill("post:live");
  await page.locator("#explain-form button").click();
  await page.locator("#explain-report .sentence", { hasText: "1 page" }).waitFor();
}

async function hostile(page) {
  begin("markup in paths, tags, headers and errors is text, and runs nothing");
  await visit(`/posts/${encodeURIComponent(IMAGE)}`, "MISS");
  const found = page.locator("#rows tr", { hasText: "onerror" });
  await found.waitFor();
  await page.locator("#event-list li", { hasText: "onerror" }).first().waitFor();
  assert.equal(await found.locator(".chip.tag").first().textContent(), `post:${IMAGE}`, "the tag");
  await found.locator('[data-do="details"]').click();
  await page.locator("#details dd", { hasText: "onerror" }).first().waitFor();
  await page.locator("#details-close").click();
  await page.locator("#change-what").selectOption("tags");
  await page.locator("#change-name").fill(HOSTILE);
  await page.locator("#change-form input[value=expire]").check();
  await page.locator("#change-submit").click();
  await page.locator("#change-report", { hasText: "<script>" }).waitFor();
  await invalidation(page, "<script>").waitFor();
  await page.locator("#change-what").selectOption("paths");
  await page.locator("#change-submit").click();
  await page.locator('#change-report[data-failed="yes"]').waitFor();
  await page.locator("#explain-what").selectOption("path");
  await page.locator("#explain-name").fill(`/posts/live?x=${encodeURIComponent(HOSTILE)}`);
  await page.locator("#explain-headers").fill(`X-Odd: ${HOSTILE}`);
  await page.locator("#explain-form button").click();
  await page.locator("#explain-report", { hasText: "onerror" }).waitFor();
  const made = await page.evaluate(() => ({ hacked: window.hacked, images: document.images.length, scripts: document.scripts.length }));
  assert.deepEqual(made, { hacked: undefined, images: 0, scripts: 1 }, "text became elements");
  await found.locator('[data-action="expire"]').click();
}

async function finds(page) {
  begin("the table is filtered and sorted, and the events are filtered and paused");
  await page.locator("#prefix").fill("/posts/live");
  await page.waitForFunction(() => document.querySelectorAll("#rows tr").length === 1);
  await page.locator("#prefix").fill("/nowhere");
  await page.locator("#entries-empty", { hasText: "No entry matches" }).waitFor();
  await page.locator("#filters-clear").click();
  await row(page, "/posts/live").waitFor();
  // Neither order of their paths is that of their hits.
  await visit("/posts/busy", "MISS");
  for (let hits = 0; hits < 12; hits += 1) await visit("/posts/busy", "HIT");
  await row(page, "/posts/busy").waitFor();
  await page.locator('th[data-sort="hits"] button').click();
  await page.locator('th[data-sort="hits"][aria-sort="descending"]').waitFor();
  await page.waitForFunction(() => {
    const hits = [...document.querySelectorAll('#rows td[data-label="Hits"]')].map((cell) => Number(cell.textContent));
    return hits.length > 2 && hits.every((n, i) => i === 0 || hits[i - 1] >= n);
  });
  await page.locator('th[data-sort="path"] button').click();
  await page.locator("#events-filter").fill("regeneration");
  await page.waitForFunction(() => {
    const seen = [...document.querySelectorAll("#event-list li:not([hidden])")];
    return seen.length > 0 && seen.every((li) => li.dataset.event === "regeneration");
  });
  await page.locator("#events-filter").fill("");
  await page.locator("#events-pause").click();
  const count = await page.locator("#event-list li").count();
  await visit("/posts/live", "HIT");
  await page.locator("#events-count", { hasText: "waiting" }).waitFor();
  assert.equal(await page.locator("#event-list li").count(), count, "a paused list has grown");
  await page.locator("#events-pause").click();
  await page.waitForFunction((n) => document.querySelectorAll("#event-list li").length > n, count);
}

// Presses Tab until the focus is on what is wanted, as somebody without a mouse has to.
async function tabTo(page, selector) {
  for (let presses = 0; presses < 150; presses += 1) {
    await page.keyboard.press("Tab");
    if (await page.evaluate((wanted) => document.activeElement?.matches(wanted) ?? false, selector)) {
      const outline = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
      assert.notEqual(outline, "none", `the focus on ${selector} cannot be seen`);
      return;
    }
  }
  assert.fail(`Tab does not come to ${selector}`);
}

async function keyboard(page) {
  begin("without a mouse: log in, skip to the entries, expire one; the focus stays while the table changes");
  await visit("/posts/keys", "MISS");
  await page.goto(dashboard);
  await page.locator("#login-form").waitFor();
  await tabTo(page, "#token");
  await page.keyboard.type(token);
  await page.keyboard.press("Enter");
  await row(page, "/posts/keys").waitFor();
  const expire = '#rows tr[data-path="/posts/keys"] [data-action="expire"]';
  await tabTo(page, expire);
  await visit("/posts/aaa", "MISS");
  await row(page, "/posts/aaa").waitFor();
  assert.ok(await page.evaluate((wanted) => document.activeElement.matches(wanted), expire), "a new row took the focus");
  await page.keyboard.press("Enter");
  await page.locator("#toast", { hasText: "Expired path /posts/keys" }).waitFor();
  await invalidation(page, "/posts/keys").waitFor();
  assert.notEqual(await page.evaluate(() => document.activeElement.tagName), "BODY", "the focus is lost");
  await visit("/posts/keys", "MISS");
}

async function narrow(page) {
  begin("at 360 pixels nothing is wider than the window");
  await narrowed(page);
  await page.waitForFunction(() => document.documentElement.scrollWidth <= innerWidth);
  assert.equal(await page.locator("#entry-table thead").isVisible(), false, "the table is no list of cards");
  await page.locator('#rows [data-action="expire"]').first().waitFor();
  await page.locator("#rows [data-do=details]").first().click();
  await page.locator("#details-facts dd").first().waitFor();
  assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), "the panel is wider than the window");
  await page.locator("#details-close").click();
  await widened(page);
}

async function shown(page) {
  begin("pictures");
  for (const slug of ["axum", "caches", "clocks", "etags", "seeds", "stores", "tags", "tower"]) {
    await visit(`/posts/${slug}`, "MISS");
    await visit(`/posts/${slug}`, "HIT");
    await row(page, `/posts/${slug}`).waitFor();
  }
  await page.locator("#change-what").selectOption("tags");
  await page.locator("#change-name").fill("post:tower");
  await page.locator("#change-form input[value=revalidate]").check();
  await page.locator("#change-submit").click();
  await page.locator('#change-report[data-failed="no"]').waitFor();
  await inState(page, "/posts/tower", "stale");
  await page.locator("#explain-name").fill("/posts/axum?utm_source=letter");
  await page.locator("#explain-headers").fill("Accept-Language: en");
  await page.locator("#explain-form button").click();
  await page.locator("#explain-report", { hasText: "utm_source" }).waitFor();
  await pictures(page, "dashboard");
}

async function told(page) {
  begin("what is done here and what the server tells is in the table at once, not when it is loaded anyway");
  let said = "";
  // A stream without numbers, so that time does not pass in the page.
  await page.route("**/api/events", (route) => route.fulfill({ contentType: "text/event-stream", body: `retry: 100\n\n${said}` }));
  await page.reload();
  await inState(page, "/posts/axum", "fresh");
  await row(page, "/posts/axum").locator('[data-action="expire"]').click();
  await inState(page, "/posts/axum", "expired");
  await visit("/posts/told", "MISS");
  assert.equal(await row(page, "/posts/told").count(), 0, "the table was loaded for nothing");
  const event = { seq: 1_000_000, at_ms: Date.now(), state: "miss", reason: "cold", route: "/posts/{slug}", path: "/posts/told", age_ms: null, detail: "" };
  said = `event: event\ndata: ${JSON.stringify(event)}\n\n`;
  await row(page, "/posts/told").waitFor();
  await page.unroute("**/api/events");
}

async function lost(page) {
  begin("a lost connection is shown, and comes back by itself; without a session the form is back");
  await page.route("**/api/events", (route) => route.fulfill({ status: 503 }));
  await page.reload();
  await page.locator('#connection[data-connection="lost"]').waitFor();
  await page.unroute("**/api/events");
  await page.locator('#connection[data-connection="live"]').waitFor();
  await page.context().clearCookies();
  await row(page, "/posts/live").locator('[data-action="revalidate"]').click();
  await page.locator("#login-form").waitFor();
  await page.waitForFunction(() => document.querySelector("#login-error").textContent.length > 5);
  assert.equal(await page.locator("#app").isVisible(), false, "the dashboard is to be seen");
  await login(page, token);
  await row(page, "/posts/live").waitFor();
}

async function logout(page) {
  begin("log out takes everything from the page and ends the session");
  await page.locator("#logout").click();
  await page.locator("#login-form").waitFor();
  const left = await page.evaluate(() => document.querySelectorAll("#rows tr, #event-list li, .route").length);
  assert.equal(left, 0, "something of the cache is left in the page");
  await page.reload();
  await page.locator("#login-form").waitFor();
}

await play({
  refusals: REFUSALS,
  async act(page) {
    await wrongToken(page);
    await enter(page);
    await page.locator("#entries-empty", { hasText: "No page has been asked for yet" }).waitFor();
    for (const part of [lives, ages, expires, revalidates, explains, hostile, finds, shown, narrow, told, lost, logout, keyboard]) await part(page);
  },
  // Renders must not wait for a test that has ended.
  after: () => steer("gate?open=1").catch(() => {}),
});
