// What the server sends by itself, and the session: last, since it starts everything.

const MOST_EVENTS = 200;
const SILENCE_MS = 6000;

const events = {
  shown: [],
  waiting: [],
  seen: new Set(),
  last: new Map(),
  paused: false,
  drawn: null,

  lastOf: (path) => events.last.get(path) ?? null,

  take(event) {
    // A stream that comes again may repeat. The time is of the process: another one counts from the start.
    const name = `${event.seq} ${event.at_ms}`;
    if (this.seen.has(name)) return;
    this.seen.add(name);
    if (this.seen.size > 4 * MOST_EVENTS) this.seen = new Set([...this.seen].slice(-2 * MOST_EVENTS));
    const path = event.path?.split("?")[0] ?? "";
    if (["hit", "stale", "miss", "pass"].includes(event.state)) {
      this.last.delete(path);
      this.last.set(path, event.state);
      if (this.last.size > 1000) this.last.delete(this.last.keys().next().value);
    }
    // What this page asks for itself, where a layer stands around everything, is no reason to ask again.
    if (base && (path === base || path.startsWith(`${base}/`))) return;
    this.waiting.push(event);
    if (this.waiting.length > MOST_EVENTS) this.waiting.shift();
    // Anything but another HIT of what is not to be seen may change what is in the table.
    if (event.state !== "hit" || [...entries.rows.values()].some((row) => row.entry.path === path)) entries.refresh();
    this.later();
  },

  // Many at once are drawn once.
  later() {
    this.drawn ??= setTimeout(() => {
      this.drawn = null;
      this.draw();
    }, 60);
  },

  draw() {
    const list = $("event-list");
    if (!this.paused && this.waiting.length) {
      const fresh = this.waiting.splice(0).map((event) => ({ event, node: this.row(event) }));
      this.shown.unshift(...fresh.reverse());
      for (const { node } of this.shown.splice(MOST_EVENTS)) node.remove();
      // Who has scrolled down reads: the list does not move below the eyes.
      const before = list.scrollTop > 0 ? list.scrollHeight : null;
      list.prepend(...fresh.filter(({ node }) => node).map(({ node }) => node));
      if (before !== null) list.scrollTop += list.scrollHeight - before;
    }
    const wanted = $("events-filter").value.trim().toLowerCase();
    let found = 0;
    for (const { node } of this.shown) {
      node.hidden = wanted !== "" && !node.dataset.text.includes(wanted);
      if (!node.hidden) found += 1;
    }
    list.hidden = found === 0;
    $("events-empty").hidden = found > 0;
    setText($("events-empty"), this.shown.length ? "No event has this text."
      : "Nothing has happened since you opened this page. Requests and invalidations appear here as they happen.");
    setText($("events-count"), this.paused && this.waiting.length ? `${this.waiting.length}${this.waiting.length >= MOST_EVENTS ? " or more" : ""} waiting`
      : wanted ? `${found} of ${this.shown.length}` : "");
  },

  row(event) {
    const words = [event.reason !== "fresh" ? event.reason : null, event.detail].filter(Boolean).join(" · ");
    return el("li", { "data-event": event.state, "data-path": event.path, "data-text": `${event.state} ${event.path} ${event.route ?? ""} ${words}`.toLowerCase() },
      el("time", { class: "muted", datetime: new Date(event.at_ms).toISOString(), text: show.time(event.at_ms) }),
      badge(event.state, event.state.length > 6 ? event.state : event.state.toUpperCase()),
      el("span", { class: "code", title: event.path, text: event.path }),
      ...(known(event.age_ms) ? [el("span", { class: "muted old", title: "Age of what was served", text: show.rough(event.age_ms) })] : []),
      ...(words ? [el("span", { class: "muted more", title: words, text: words })] : []));
  },

  clear() {
    this.shown = [];
    this.waiting = [];
    this.seen.clear();
    this.last.clear();
    $("event-list").replaceChildren();
    this.draw();
  },
};

$("events-pause").addEventListener("click", () => {
  events.paused = !events.paused;
  setAttribute($("events-pause"), "aria-pressed", String(events.paused));
  setText($("events-pause"), events.paused ? "Go on" : "Pause");
  events.draw();
});
$("events-filter").addEventListener("input", () => events.draw());

const stream = {
  source: null,
  heard: 0,
  failures: 0,
  again: null,
  state: "",

  open() {
    this.close();
    this.heard = performance.now();
    const source = new EventSource(`${base}/api/events`);
    this.source = source;
    source.addEventListener("stats", (message) => this.hear(message, (tick) => {
      traffic.take(tick);
      entries.grow();
    }));
    source.addEventListener("event", (message) => this.hear(message, (event) => events.take(event)));
    source.addEventListener("error", () => {
      // A stream that ended comes again by itself; one that was refused does not.
      if (source.readyState === EventSource.CLOSED) this.lost();
    });
  },

  hear(message, use) {
    this.heard = performance.now();
    this.failures = 0;
    if (this.state === "lost") entries.refresh();
    this.show("live", "Live");
    let said;
    try {
      said = JSON.parse(message.data);
    } catch {
      return;
    }
    use(said);
  },

  // Either nobody is logged in any more, which the call finds out, or the server is away: asked again, less and less often.
  async lost() {
    if (this.again !== null) return;
    this.show("lost", "Connection lost");
    this.failures += 1;
    this.again = setTimeout(async () => {
      try {
        await api("/api/stats");
      } catch {
        // Shown already; a session that ended has closed the stream.
      }
      this.again = null;
      if (session.open) this.open();
    }, Math.min(10_000, 500 * 2 ** this.failures));
  },

  show(state, text) {
    if (this.state === state) return;
    this.state = state;
    $("connection").dataset.connection = state;
    setText($("connection"), text);
  },

  close() {
    this.source?.close();
    this.source = null;
    clearTimeout(this.again);
    this.again = null;
  },
};

setInterval(() => {
  if (stream.source && performance.now() - stream.heard > SILENCE_MS) stream.show("lost", "Connection lost");
}, 1000);

const session = {
  open: false,

  // The first call tells whether there is a session.
  async start() {
    try {
      this.enter(await api("/api/stats"));
    } catch (error) {
      if (error.status === 401) return;
      setText($("starting"), `${error.message} Trying again…`);
      setTimeout(() => this.start(), 3000);
    }
  },

  enter(tick) {
    this.open = true;
    this.screen("app");
    stream.show("connecting", "Connecting");
    traffic.take(tick);
    entries.sortBy("path", "asc");
    stream.open();
  },

  // What was shown to somebody who was logged in does not stay in the page.
  end(why = "") {
    const was = this.open;
    this.open = false;
    stream.close();
    for (const box of document.querySelectorAll("dialog[open]")) box.close();
    toast.hide();
    for (const part of [traffic, entries, events, form, explain]) part.clear();
    $("filters").reset();
    this.screen("login");
    setText($("login-error"), was ? why : "");
    $("token").focus();
  },

  screen(name) {
    document.body.dataset.screen = name;
    setText($("starting"), "");
    $("login").hidden = name !== "login";
    $("app").hidden = name !== "app";
  },
};

$("login-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  setText($("login-error"), "");
  try {
    await api("/login", { token: $("token").value });
  } catch (error) {
    setText($("login-error"), error.status === 401 ? "This is not the token." : error.message);
    $("token").select();
    return;
  }
  try {
    session.enter(await api("/api/stats"));
    $("token").value = "";
    $("entries").focus({ preventScroll: true });
  } catch (error) {
    setText($("login-error"), error.status === 401
      ? "The token is right, but this browser did not keep the session's cookie. It may need HTTPS, or localhost." : error.message);
  }
});
$("logout").addEventListener("click", async () => {
  try {
    await api("/logout", {});
    session.end();
  } catch (error) {
    if (error.status !== 401) toast.show(`Not logged out: ${error.message}`, true);
  }
});

session.start();
