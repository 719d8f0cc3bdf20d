// The table of entries: one row per entry, kept while the entry is there, so that focus and selection stay where they
// are when the numbers change.

const predicted = (entry, age) => {
  if (known(entry.expire_ms) && age >= entry.expire_ms) return "expired";
  return known(entry.fresh_ms) && age >= entry.fresh_ms ? "stale" : "fresh";
};

// What an entry's age is now, by the server's clock: `loadedAt` is when it was told, and it goes on, or is set, between two answers.
const ageNow = (entry, loadedAt) => {
  const passed = loadedAt === null || !traffic.tick ? 0 : Math.max(0, traffic.tick.at_ms - loadedAt);
  return Math.max(0, (entry.age_ms ?? 0) + passed);
};

// Why there is no time of a render.
const notRendered = (entry) => (entry.kind === "data" ? "A cached value: it is not measured"
  : entry.kind === "pass" ? "Not kept: each visitor gets a render of his own"
  : "Not rendered by this process: it came from the store or from a seed");

const inputText = (input) => (input.kind === "query" ? `${input.name}=${input.value}`
  : input.kind === "host" || input.kind === "namespace" ? `${input.kind} ${input.value}` : `${input.name}: ${input.value}`);

// `3 of 10 days`: in a narrow column, a unit that is the same is written once.
function outOf(part, all) {
  const [number, unit] = part.split(" ");
  return `${all.endsWith(` ${unit}`) ? number : part} of ${all}`;
}

// Of one long life and one short, both have to be seen: fresh is two thirds of the bar, what follows is the last third.
class AgeBar {
  #fill = el("i");
  #text = el("span");
  #mark = el("b");
  node = el("div", { class: "age" }, this.#text, el("div", { class: "life", "aria-hidden": "true" }, this.#fill, this.#mark));

  write(entry, age) {
    const { fresh_ms: fresh, expire_ms: expire } = entry;
    let part = 0;
    if (known(fresh) && age < fresh) part = (age / fresh) * (2 / 3);
    else if (known(fresh)) part = 2 / 3 + (known(expire) && expire > fresh ? Math.min(1, (age - fresh) / (expire - fresh)) / 3 : 0);
    else if (known(expire)) part = Math.min(1, age / expire) * (2 / 3);
    this.#fill.style.width = `${(part * 100).toFixed(1)}%`;
    this.#mark.hidden = !known(fresh);
    const end = known(fresh) && age < fresh ? fresh : known(expire) && expire < 3.15e10 ? expire : null;
    setText(this.#text, known(end) ? outOf(show.rough(age), show.rough(end)) : show.rough(age));
    setAttribute(this.node, "title", `${show.age(age)} old · ${known(fresh) ? `fresh for ${show.ms(fresh)}` : "never stale by age"}`
      + ` · ${known(expire) ? `expires at ${show.ms(expire)}` : "never expires by age"}`);
  }
}

// The others are in the title of how many there are, and in the panel.
const TAGS_IN_A_ROW = 3;

class Row {
  #path = el("button", { type: "button", class: "link code path", "data-do": "details" });
  #chips = el("div", { class: "chips" });
  #error = el("p", { class: "error" });
  #badge = badge("fresh");
  #why = el("span", { class: "muted why" });
  #age = new AgeBar();
  #size = el("td", { role: "cell", class: "number", "data-label": "Size" });
  #render = el("td", { role: "cell", class: "number", "data-label": "Render" });
  #hits = el("td", { role: "cell", class: "number", "data-label": "Hits" });
  #failed = el("td", { role: "cell", class: "number", "data-label": "Failed" });
  #buttons = new Map();
  #written = "";
  // What state the age alone gave when it was loaded: when it gives another, the server is asked again.
  #predicted = "";

  constructor(entry, loadedAt) {
    const actions = el("div", { class: "actions" });
    for (const [verb, label] of [["revalidate", "Revalidate"], ["expire", "Expire"], ["regenerate", "Regenerate"]]) {
      const button = el("button", { type: "button", "data-action": verb, text: label, on: { click: () => actOn(verb, this.entry) } });
      this.#buttons.set(verb, button);
      actions.append(button);
    }
    this.#path.addEventListener("click", () => details.open(this.entry));
    this.node = el("tr", { role: "row", "data-entry": entry.id },
      el("td", { role: "cell", class: "c-path" }, this.#path, this.#chips, this.#error),
      el("td", { role: "cell", class: "c-state", "data-label": "State" }, el("div", {}, this.#badge, this.#why)),
      el("td", { role: "cell", class: "c-age", "data-label": "Age" }, this.#age.node),
      this.#size, this.#render, this.#hits, this.#failed,
      el("td", { role: "cell", class: "c-do" }, actions));
    this.write(entry, loadedAt);
  }

  write(entry, loadedAt) {
    const before = this.entry;
    this.entry = entry;
    this.loadedAt = loadedAt;
    setText(this.#path, entry.path);
    setAttribute(this.#path, "title", entry.path);
    setAttribute(this.node, "data-path", entry.path);
    setAttribute(this.node, "data-kind", entry.kind);
    setAttribute(this.node, "data-state", entry.state);
    const what = JSON.stringify([entry.kind, entry.inputs, entry.tags]);
    if (what !== this.#written) {
      this.#written = what;
      const rest = entry.tags.slice(TAGS_IN_A_ROW);
      this.#chips.replaceChildren(
        ...(entry.kind === "data" ? [el("span", { class: "chip kind", text: "data" })] : []),
        ...entry.inputs.map((input) => el("span", { class: "chip code", title: `${input.kind}: part of the key`, text: inputText(input) })),
        ...entry.tags.slice(0, TAGS_IN_A_ROW).map((tag) => el("button", {
          type: "button", class: "chip tag", title: `Show what carries the tag ${tag}`, text: tag, on: { click: () => entries.filterBy(tag) },
        })),
        ...(rest.length ? [el("button", {
          type: "button", class: "chip more", text: `+${rest.length}`, title: `Also ${rest.join(", ")}`,
          "aria-label": `${show.many(rest.length, "more tag")} of ${entry.path}`, on: { click: () => details.open(this.entry) },
        })] : []));
    }
    setText(this.#error, entry.last_error ? `failed: ${entry.last_error}${known(entry.retry_ms) ? `, next try in ${show.age(entry.retry_ms)}` : ""}` : "");
    this.#error.hidden = !entry.last_error;
    setAttribute(this.#badge, "data-state", entry.state);
    setText(this.#badge, entry.state);
    const last = events.lastOf(entry.path);
    const why = [entry.rendering ? "rendering" : entry.reason !== entry.state ? entry.reason : null, last && `last ${last.toUpperCase()}`];
    setText(this.#why, why.filter(Boolean).join("\n"));
    setAttribute(this.node, "data-rendering", entry.rendering ? "yes" : null);
    setText(this.#size, show.bytes(entry.bytes));
    setText(this.#render, known(entry.render_ms) ? show.ms(entry.render_ms) : "–");
    setAttribute(this.#render, "title", known(entry.render_ms) ? null : notRendered(entry));
    setText(this.#hits, show.compact(entry.hits));
    setText(this.#failed, show.compact(entry.failures));
    setAttribute(this.#failed, "data-failed", entry.failures ? "yes" : null);
    const page = entry.kind !== "data";
    for (const [verb, button] of this.#buttons) {
      button.hidden = !page;
      setAttribute(button, "aria-label", `${button.textContent} ${entry.path}`);
    }
    this.#predicted = predicted(entry, entry.age_ms ?? 0);
    this.grow();
    if (before && before.state !== entry.state) this.#flash();
  }

  grow() {
    const age = ageNow(this.entry, this.loadedAt);
    this.#age.write(this.entry, age);
    return this.entry.kind === "pass" || predicted(this.entry, age) === this.#predicted;
  }

  #flash() {
    this.node.classList.remove("changed");
    void this.node.offsetWidth;
    this.node.classList.add("changed");
  }

  get first() {
    return this.#path;
  }
}

const entries = {
  rows: new Map(),
  sort: "path",
  order: "asc",
  page: 1,
  pages: 1,
  asked: 0,
  // Nothing tells that an entry was evicted, so the table is also loaded now and then.
  loaded: -Infinity,
  // The server's time of the ages.
  at: null,
  // What a look takes the server, which looks at everything that it holds: it is to be some thousandths of its time.
  took: 0,
  refresh: atMost(() => Math.min(5000, Math.max(1000, 200 * entries.took)), () => entries.load()),

  async load() {
    if (!session.open || document.hidden) return;
    const mine = ++this.asked;
    const filters = [["state", $("state").value], ["tag", $("tag").value], ["prefix", $("prefix").value]];
    try {
      const found = await api(`/api/entries${query([...filters, ["sort", this.sort], ["order", this.order], ["page", this.page]])}`);
      // Filters may have changed while this was on its way.
      if (mine !== this.asked || !session.open) return;
      this.loaded = performance.now();
      this.at = found.at_ms;
      this.took = found.took_ms;
      this.write(found, filters.some(([, value]) => value !== ""));
    } catch (error) {
      if (mine === this.asked && error.status !== 401) setText($("entries-error"), error.message);
    }
    await details.refresh();
  },

  write(found, filtered) {
    setText($("entries-error"), "");
    this.pages = Math.max(1, found.pages);
    if (this.page > this.pages) {
      this.page = this.pages;
      this.refresh();
    }
    const focused = document.activeElement?.closest?.("#rows tr") ?? null;
    const place = focused ? [...$("rows").children].indexOf(focused) : -1;
    const wanted = [];
    for (const entry of found.entries) {
      let row = this.rows.get(entry.id);
      if (row) row.write(entry, found.at_ms);
      else row = new Row(entry, found.at_ms);
      wanted.push(row);
    }
    this.rows = new Map(wanted.map((row) => [row.entry.id, row]));
    this.arrange(wanted.map((row) => row.node));
    if (focused && !focused.isConnected) {
      const next = wanted[Math.min(place, wanted.length - 1)];
      (next ? next.first : $("prefix")).focus({ preventScroll: true });
    }
    const text = found.matched === found.total ? `${show.count(found.total)} held` : `${show.count(found.matched)} of ${show.count(found.total)}`;
    setText($("entries-count"), text);
    $("entry-table").hidden = wanted.length === 0;
    const empty = $("entries-empty");
    empty.hidden = wanted.length > 0;
    if (!empty.hidden) {
      setText(empty, filtered && found.total > 0 ? "No entry matches these filters."
        : "No page has been asked for yet. Open a page of your site whose route has an IsrLayer: it appears here at once.");
    }
    $("pager").hidden = this.pages < 2;
    setText($("page-now"), `Page ${show.count(this.page)} of ${show.count(this.pages)}`);
    for (const id of ["page-first", "page-back"]) setAttribute($(id), "aria-disabled", this.page <= 1 ? "true" : null);
    for (const id of ["page-next", "page-last"]) setAttribute($(id), "aria-disabled", this.page >= this.pages ? "true" : null);
    const tags = new Set(found.entries.flatMap((entry) => entry.tags));
    const options = [...tags].sort().slice(0, 300);
    if ($("tags").children.length !== options.length || options.some((tag, i) => $("tags").children[i].value !== tag)) {
      $("tags").replaceChildren(...options.map((value) => el("option", { value })));
    }
  },

  // Moves as few rows as it can: a row that is moved loses the focus, and gets it back.
  arrange(nodes) {
    const body = $("rows");
    const active = document.activeElement;
    const keep = new Set(nodes);
    for (const node of [...body.children]) if (!keep.has(node)) node.remove();
    nodes.forEach((node, i) => {
      if (body.children[i] !== node) body.insertBefore(node, body.children[i] ?? null);
    });
    if (active?.isConnected && document.activeElement !== active && body.contains(active)) active.focus({ preventScroll: true });
  },

  // Each second: ages grow, and who crossed a limit is asked for again.
  grow() {
    let same = true;
    for (const row of this.rows.values()) same = row.grow() && same;
    details.grow();
    if (!same || performance.now() - this.loaded > 10_000) this.refresh();
  },

  sortBy(sort, order) {
    this.sort = sort;
    this.order = order;
    for (const head of document.querySelectorAll("th[data-sort]")) {
      setAttribute(head, "aria-sort", head.dataset.sort === sort ? (order === "asc" ? "ascending" : "descending") : null);
    }
    const value = `${sort} ${order}`;
    if ([...$("sort").options].some((option) => option.value === value)) $("sort").value = value;
    else $("sort").selectedIndex = -1;
    this.go(1);
  },

  go(page) {
    if (page < 1 || (page > this.pages && page !== 1)) return;
    this.page = page;
    this.load();
  },

  filterBy(tag) {
    $("tag").value = tag;
    this.go(1);
    say(`Showing what carries the tag ${tag}`);
  },

  clear() {
    this.asked += 1;
    this.rows.clear();
    $("rows").replaceChildren();
    $("tags").replaceChildren();
    setText($("entries-count"), "");
  },
};

for (const head of document.querySelectorAll("th[data-sort]")) {
  const sort = head.dataset.sort;
  head.firstElementChild.addEventListener("click", () => {
    // Of numbers, the largest are looked for first.
    const first = sort === "path" || sort === "age" ? "asc" : "desc";
    const other = first === "asc" ? "desc" : "asc";
    entries.sortBy(sort, entries.sort === sort && entries.order === first ? other : first);
  });
}
$("sort").addEventListener("change", () => entries.sortBy(...$("sort").value.split(" ")));
let typing = null;
for (const id of ["prefix", "tag"]) {
  $(id).addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(() => entries.go(1), 200);
  });
}
$("state").addEventListener("change", () => entries.go(1));
$("filters").addEventListener("submit", (event) => {
  event.preventDefault();
  entries.go(1);
});
// The fields are empty only after this event.
$("filters").addEventListener("reset", () => setTimeout(() => entries.sortBy("path", "asc")));
$("page-first").addEventListener("click", () => entries.go(1));
$("page-back").addEventListener("click", () => entries.go(entries.page - 1));
$("page-next").addEventListener("click", () => entries.go(entries.page + 1));
$("page-last").addEventListener("click", () => entries.go(entries.pages));
document.addEventListener("visibilitychange", () => entries.refresh());
