// Headline numbers and the routes, from the differences of successive ticks.

const WINDOW_MS = 120_000;
const ROUTES_AT_FIRST = 5;
const COUNTERS = [
  "hits", "stale", "misses", "passes", "bypasses", "failures", "regenerations", "regenerations_failed",
  "age_ms_sum", "render_ms_sum", "renders", "saved_ms",
];

const nothing = () => Object.fromEntries(COUNTERS.map((name) => [name, 0]));

function add(sum, counts) {
  for (const name of COUNTERS) sum[name] += counts[name] ?? 0;
  return sum;
}

const served = (c) => c.hits + c.stale;
// A bypass never was the cache's to answer, so it counts as traffic, but neither for the ratio nor against it.
const asked = (c) => served(c) + c.misses + c.passes + c.failures;
const requests = (c) => asked(c) + c.bypasses;
const ratio = (c) => (asked(c) > 0 ? served(c) / asked(c) : null);
const averageAge = (c) => (served(c) > 0 ? c.age_ms_sum / served(c) : null);
const averageRender = (c) => (c.renders > 0 ? c.render_ms_sum / c.renders : null);

// What was counted in the last two minutes. Times are of this browser's own steady clock: the server's may be set.
class History {
  #last = null;
  #at = 0;
  samples = [];

  take(counts, now) {
    const fell = this.#last && COUNTERS.some((name) => (counts[name] ?? 0) < this.#last[name]);
    if (!this.#last || fell) {
      // The first tick, or another process: there is nothing to compare it with.
      if (fell) this.samples = [];
    } else {
      const secs = (now - this.#at) / 1000;
      // Ticks that come at once, because the browser slept, are one.
      if (secs < 0.25) return;
      const sample = { at: now, secs };
      for (const name of COUNTERS) sample[name] = (counts[name] ?? 0) - this.#last[name];
      this.samples.push(sample);
      while (this.samples.length > 1 && this.samples[0].at < now - WINDOW_MS - 2000) this.samples.shift();
    }
    this.#last = add(nothing(), counts);
    this.#at = now;
  }

  // The sum of the samples after `from` until `to`.
  sum(from, to = Infinity) {
    const sum = nothing();
    let secs = 0;
    for (const sample of this.samples) {
      if (sample.at <= from || sample.at > to) continue;
      add(sum, sample);
      secs += sample.secs;
    }
    return { ...sum, secs };
  }

  // A line: at each sample the value over the `ms` before it.
  line(ms, value) {
    return this.samples.map(({ at }) => ({ at, value: value(this.sum(at - ms, at)) }));
  }
}

// A line over two minutes, with the area below it. What it shows is said in words as well.
class Chart {
  #area = svg("path", { class: "area" });
  #line = svg("path", { class: "line" });
  #cross = svg("path", { class: "cross" });
  #number = el("span", { class: "now", text: "–" });
  #note = el("span", { class: "muted note" });
  #points = [];
  #hover = null;
  #now = 0;

  constructor(kind, label, format, { top = null, reading } = {}) {
    this.format = format;
    this.top = top;
    this.reading = reading;
    this.svg = svg("svg", { class: "chart", viewBox: "0 0 120 32", preserveAspectRatio: "none", role: "img", "data-kind": kind });
    this.svg.append(svg("path", { class: "ground", d: "M0 31.5H120" }), this.#area, this.#line, this.#cross);
    this.label = label;
    this.node = el("div", { class: "measure", "data-kind": kind },
      el("span", { class: "caption", text: label }), this.#number, this.svg, this.#note);
    this.svg.addEventListener("pointermove", (event) => {
      const box = this.svg.getBoundingClientRect();
      this.#hover = ((event.clientX - box.left) / box.width) * 120;
      this.#write();
    });
    this.svg.addEventListener("pointerleave", () => {
      this.#hover = null;
      this.#write();
    });
  }

  draw(points, now) {
    this.#points = points;
    this.#now = now;
    const values = points.map((p) => p.value).filter(known);
    const top = this.top ?? Math.max(...values, 0) * 1.1;
    const at = (p) => [(120 - (now - p.at) / 1000).toFixed(1), (31 - (top > 0 ? p.value / top : 0) * 29).toFixed(1)];
    let line = "";
    let area = "";
    let run = [];
    const close = () => {
      if (run.length) {
        // One point alone is a dash, so that it can be seen.
        if (run.length === 1) run.push([(Number(run[0][0]) + 0.8).toFixed(1), run[0][1]]);
        const way = run.map(([x, y]) => `${x} ${y}`).join("L");
        line += `M${way}`;
        area += `M${run[0][0]} 31.5L${way}L${run.at(-1)[0]} 31.5Z`;
      }
      run = [];
    };
    for (const point of points) {
      if (known(point.value)) run.push(at(point));
      else close();
    }
    close();
    this.#line.setAttribute("d", line);
    this.#area.setAttribute("d", area);
    const best = values.length ? Math.max(...values) : null;
    const least = values.length ? Math.min(...values) : null;
    setAttribute(this.svg, "aria-label", values.length
      ? `${this.label} in the last two minutes: from ${this.format(least)} to ${this.format(best)}, now ${this.format(points.at(-1).value)}`
      : `${this.label} in the last two minutes: nothing to show`);
    setText(this.#note, best === null ? "" : this.top === null ? `up to ${this.format(best)}` : `from ${this.format(least)}`);
    this.#write();
  }

  // The number is the latest, or the one under the pointer.
  #write() {
    const x = this.#hover;
    const near = x === null ? null : this.#points.filter((p) => known(p.value))
      .map((p) => ({ p, off: Math.abs(120 - (this.#now - p.at) / 1000 - x) }))
      .reduce((best, next) => (best === null || next.off < best.off ? next : best), null);
    if (near && near.off < 3) {
      setText(this.#number, `${this.format(near.p.value)}, ${Math.round((this.#now - near.p.at) / 1000)} s ago`);
      this.#cross.setAttribute("d", `M${120 - (this.#now - near.p.at) / 1000} 0V32`);
    } else {
      setText(this.#number, this.format(this.#points.at(-1)?.value ?? null));
      this.#cross.setAttribute("d", "");
    }
  }
}

class Route {
  history = new History();
  #rate = new Chart("rate", "Requests", show.rate);
  #ratio = new Chart("ratio", "Hit ratio", show.percent, { top: 1 });
  #age = new Chart("age", "Average age", show.age);
  #facts = el("p", { class: "muted facts" });
  #failed = el("p", { class: "error facts" });

  constructor(name) {
    this.name = name;
    this.node = el("article", { class: "route", "data-route": name },
      el("div", { class: "about" }, el("h3", { class: "code", text: name || "(no pattern)" }), this.#facts, this.#failed),
      this.#rate.node, this.#ratio.node, this.#age.node);
  }

  take(counts, now) {
    this.history.take(counts, now);
    this.total = requests(counts);
    const facts = [show.many(this.total, "request"), `render ${show.ms(averageRender(counts))}`];
    const failed = [
      counts.failures && `${show.many(counts.failures, "request")} failed`,
      counts.regenerations_failed && `${show.many(counts.regenerations_failed, "regeneration")} failed`,
    ].filter(Boolean);
    setText(this.#facts, facts.join(" · "));
    setText(this.#failed, failed.join(" · "));
  }

  draw(now) {
    this.#rate.draw(this.history.line(3000, (s) => (s.secs > 0 ? requests(s) / s.secs : null)), now);
    this.#ratio.draw(this.history.line(10_000, ratio), now);
    this.#age.draw(this.history.line(10_000, averageAge), now);
  }
}

const traffic = {
  tick: null,
  all: false,
  routes: new Map(),
  total: new History(),

  take(tick) {
    const now = performance.now();
    this.tick = tick;
    const sum = tick.routes.reduce(add, nothing());
    this.total.take(sum, now);
    let added = false;
    for (const counts of tick.routes) {
      if (!this.routes.has(counts.route)) {
        this.routes.set(counts.route, new Route(counts.route));
        added = true;
      }
      this.routes.get(counts.route).take(counts, now);
    }
    if (added) this.place();
    this.headline(tick, sum, now);
    for (const route of this.routes.values()) if (!route.node.hidden) route.draw(now);
  },

  // Those with most requests first, by what was known when the last one came: rows that swap places cannot be read.
  place() {
    const sorted = [...this.routes.values()].sort((a, b) => b.total - a.total || (a.name < b.name ? -1 : 1));
    sorted.forEach((route, index) => (route.node.hidden = !this.all && index >= ROUTES_AT_FIRST));
    $("route-list").replaceChildren(...sorted.map((route) => route.node));
    $("routes-empty").hidden = sorted.length > 0;
    const more = $("routes-more");
    more.hidden = sorted.length <= ROUTES_AT_FIRST;
    setText(more, this.all ? "Show fewer" : `Show all ${sorted.length}`);
    setAttribute(more, "aria-expanded", String(this.all));
    $("route-names").replaceChildren(...sorted.map((route) => el("option", { value: route.name })));
  },

  headline(tick, sum, now) {
    const minute = this.total.sum(now - 60_000);
    const lately = this.total.sum(now - 5000);
    setText($("ratio-now"), show.percent(ratio(minute)));
    setText($("ratio-all"), ratio(sum) === null ? "no request yet" : `${show.percent(ratio(sum))} since start`);
    setText($("rate-now"), show.rate(lately.secs > 0 ? requests(lately) / lately.secs : null));
    setText($("rate-all"), `${show.compact(requests(sum))} since start`);
    setText($("memory-now"), show.bytes(tick.memory_bytes));
    const part = tick.memory_limit > 0 ? Math.min(1, tick.memory_bytes / tick.memory_limit) : 0;
    $("memory-bar").firstElementChild.style.width = `${part * 100}%`;
    setAttribute($("memory-bar"), "aria-valuenow", Math.round(part * 100));
    setAttribute($("memory-bar"), "aria-valuetext", `${show.bytes(tick.memory_bytes)} of ${show.bytes(tick.memory_limit)}`);
    setText($("memory-all"), `of ${show.bytes(tick.memory_limit)} · ${show.many(tick.entries, "entry", "entries")}`);
    setText($("flights-now"), show.count(tick.flights));
    setText($("flights-all"), sum.renders ? `${show.compact(sum.renders)} renders, ${show.ms(averageRender(sum))} each` : "no render yet");
    const little = sum.saved_ms > 0 && sum.saved_ms < 1000;
    setText($("saved-now"), little ? "under a second" : show.ms(sum.saved_ms));
    setAttribute($("saved-now"), "data-words", little ? "yes" : null);
    const { store } = tick;
    setText($("store-now"), store ? (store.open ? `${store.name} fails` : store.name) : "none");
    setText($("store-all"), !store ? `memory only · ${show.many(tick.marks, "mark")}`
      : `${store.open ? "not asked for a while" : "answers"} · ${show.many(store.waiting_writes, "write")} waiting · ${show.many(store.unsent_marks, "mark")} unsent`);
    setAttribute($("store-tile"), "data-failed", store && (store.open || store.unsent_marks > 0) ? "yes" : null);
    $("mode").hidden = !tick.mode;
    setText($("mode"), tick.mode ?? "");
    $("scope").hidden = !tick.scope;
    setText($("scope"), tick.scope ? `scope ${tick.scope}` : "");
  },

  clear() {
    this.tick = null;
    this.routes.clear();
    this.total = new History();
    this.place();
  },
};

$("routes-more").addEventListener("click", () => {
  traffic.all = !traffic.all;
  traffic.place();
  const now = performance.now();
  for (const route of traffic.routes.values()) if (!route.node.hidden) route.draw(now);
});
