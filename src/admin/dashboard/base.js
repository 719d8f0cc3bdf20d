// What every part of the page uses: elements, numbers for people, calls to the API.
// Whatever the server says enters the page as text or as an attribute, never as HTML: paths, tags and errors come from
// visitors and handlers.

const $ = (id) => document.getElementById(id);

// An element: attributes (`text` is its text, `on` its listeners, null and false are left out), then children.
function el(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key === "text") made.textContent = value;
    else if (key === "on") for (const [type, listener] of Object.entries(value)) made.addEventListener(type, listener);
    else made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

function svg(name, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

// Only what changed is written: text that somebody selects is left alone, and nothing is laid out anew for nothing.
function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function setAttribute(node, name, value) {
  if (value === null || value === undefined) node.removeAttribute(name);
  else if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value);
}

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat("en", { maximumSignificantDigits: 2 });
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

const known = (value) => value !== null && value !== undefined && Number.isFinite(value);

const show = {
  count: (n) => (known(n) ? whole.format(n) : "–"),
  compact: (n) => (known(n) ? (n < 10_000 ? whole.format(n) : compact.format(n)) : "–"),
  rate: (n) => (known(n) ? `${n < 10 ? short.format(n) : whole.format(n)} /s` : "–"),
  many: (n, one, more = `${one}s`) => `${whole.format(n)} ${n === 1 ? one : more}`,
  // Never rounded up to 100 %: one miss in ten thousand is a miss.
  percent(ratio) {
    if (!known(ratio)) return "–";
    const percent = ratio * 100;
    return `${percent > 90 ? (Math.floor(percent * 10) / 10).toFixed(percent === 100 ? 0 : 1) : Math.round(percent)} %`;
  },
  bytes(n) {
    if (!known(n)) return "–";
    const units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let unit = 0;
    while (n >= 1023.5 && unit < units.length - 1) {
      n /= 1024;
      unit += 1;
    }
    return `${n >= 10 || unit === 0 ? Math.round(n) : short.format(n)} ${units[unit]}`;
  },
  // A duration, in one unit or two.
  ms(n) {
    if (!known(n)) return "–";
    if (n <= 0) return "0 s";
    if (n < 0.1) return "<0.1 ms";
    if (n < 999.5) return `${n < 10 ? short.format(n) : Math.round(n)} ms`;
    const seconds = Math.floor(n / 1000);
    if (seconds < 10) return `${(Math.floor(n / 100) / 10).toString()} s`;
    if (seconds < 60) return `${seconds} s`;
    const two = (value, unit, rest, small) => (rest > 0 && value < 10 ? `${value} ${unit} ${rest} ${small}` : `${value} ${unit}`);
    const minutes = Math.floor(seconds / 60);
    if (minutes < 60) return two(minutes, "min", seconds % 60, "s");
    const hours = Math.floor(minutes / 60);
    if (hours < 48) return two(hours, "h", minutes % 60, "min");
    const days = Math.floor(hours / 24);
    return days < 730 ? `${days} days` : `${Math.floor(days / 365)} years`;
  },
  // An age changes every second: below a minute in whole seconds.
  age: (n) => (known(n) && n < 60_000 ? `${Math.max(0, Math.floor(n / 1000))} s` : show.ms(n)),
  // In one unit, for where there is little room.
  rough: (n) => show.age(n).replace(/^(\d+ \S+) \d+ \S+$/, "$1"),
  time: (ms) => new Date(ms).toLocaleTimeString("en-GB"),
  when: (ms) => (known(ms) ? `${new Date(ms).toLocaleDateString("en-CA")} ${show.time(ms)}` : "never"),
};

const badge = (state, text = state) => el("span", { class: "badge", "data-state": state, text });

// `/` at the end or not: the page is where it was nested.
const base = location.pathname.replace(/\/+$/, "");

class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

// A call; with a body it is a POST. The header is what no other site's form or simple request can send.
async function api(path, body) {
  const init = { cache: "no-store", credentials: "same-origin", headers: { accept: "application/json" } };
  if (body !== undefined) {
    init.method = "POST";
    init.headers["x-axum-isr"] = "1";
    init.headers["content-type"] = "application/json";
    init.body = JSON.stringify(body);
  }
  let response;
  let answer = null;
  try {
    response = await fetch(base + path, init);
    const text = await response.text();
    if (text) answer = JSON.parse(text);
  } catch {
    // What is no JSON comes from something between the server and here.
    if (!response) throw new ApiError(0, "The server could not be reached.");
    if (response.ok) throw new ApiError(0, "The answer broke off, or is not the server's.");
  }
  if (response.ok) return answer;
  if (response.status === 401 && path !== "/login") session.end("You are not logged in any more.");
  throw new ApiError(response.status, answer?.error ?? `The server answered with status ${response.status}.`);
}

// A query of those parameters that have a value.
function query(parameters) {
  const pairs = new URLSearchParams();
  for (const [name, value] of parameters) if (value !== "" && value !== null) pairs.append(name, value);
  return pairs.size ? `?${pairs}` : "";
}

// At most once in `pause()` milliseconds, and never twice at a time; what was asked for meanwhile is done once, afterwards.
function atMost(pause, action) {
  let timer = null;
  let running = false;
  let again = false;
  let last = -Infinity;
  const run = async () => {
    timer = null;
    running = true;
    again = false;
    last = performance.now();
    try {
      await action();
    } finally {
      running = false;
      if (again) ask();
    }
  };
  const ask = () => {
    if (running) again = true;
    else timer ??= setTimeout(run, Math.max(0, last + pause() - performance.now()));
  };
  return ask;
}

// What was done, at the bottom of the window and for screen readers. Errors stay until they are closed.
const toast = {
  timer: null,
  show(text, failed = false) {
    clearTimeout(this.timer);
    setText($("toast-text"), text);
    setAttribute($("toast"), "data-failed", failed ? "yes" : "no");
    $("toast").hidden = false;
    say(text);
    if (!failed) this.timer = setTimeout(() => this.hide(), 6000);
  },
  hide() {
    clearTimeout(this.timer);
    $("toast").hidden = true;
  },
};

// Said again even if it is the same as before.
function say(text) {
  $("said").textContent = "";
  setTimeout(() => ($("said").textContent = text), 20);
}

$("toast-close").addEventListener("click", () => toast.hide());
