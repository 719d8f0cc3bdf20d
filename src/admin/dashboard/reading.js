// Reading: the panel of an entry, and why a request gets what it gets.

// A list of facts that is written again without losing what did not change.
// `data-flat` holds what is there as text, to compare with; it never becomes HTML again.
function facts(list, pairs) {
  const wanted = pairs.filter(Boolean);
  const keys = JSON.stringify(wanted.map(([name]) => name));
  if (list.dataset.keys !== keys) {
    list.dataset.keys = keys;
    list.replaceChildren(...wanted.flatMap(([name]) => [el("dt", { text: name }), el("dd")]));
  }
  wanted.forEach(([, value], i) => {
    const place = list.children[i * 2 + 1];
    const nodes = Array.isArray(value) ? value : [value];
    const flat = nodes.map((node) => (node instanceof Node ? node.outerHTML : node)).join("\n");
    if (place.dataset.flat === flat) return;
    place.dataset.flat = flat;
    place.replaceChildren(...nodes.map((node) => (node instanceof Node ? node : el("span", { text: node }))));
  });
}

const code = (text) => el("span", { class: "code", text });
const life = (fresh, expire) => `${known(fresh) ? `fresh for ${show.ms(fresh)}` : "never stale by age"}, `
  + (known(expire) ? `expired after ${show.ms(expire)}` : "never expired by age");

function entryFacts(entry, age) {
  return [
    ["State", [badge(entry.state), ...(entry.reason !== entry.state ? [` because: ${entry.reason}`] : []), ...(entry.rendering ? [" · rendering now"] : [])]],
    ["Route", code(entry.route || "–")],
    ["Kind", entry.kind === "page" ? `page, status ${entry.status}` : entry.kind === "pass" ? "pass: remembered as not shared" : "cached value"],
    ["Inputs", entry.inputs.length ? entry.inputs.map((input) => el("span", { class: "chip code", text: inputText(input) })) : "the path alone"],
    ["Tags", entry.tags.length ? entry.tags.map((tag) => el("button", {
      type: "button", class: "chip tag", text: tag, title: "Put it into the form that invalidates", on: { click: () => details.useTag(tag) },
    })) : "none"],
    ["Age", show.age(age)],
    ["Life", life(entry.fresh_ms, entry.expire_ms)],
    ["Size", `${show.bytes(entry.bytes)}, of them ${show.bytes(entry.body_bytes)} body`],
    ["Render", known(entry.render_ms) ? `took ${show.ms(entry.render_ms)}` : notRendered(entry)],
    ["Hits", show.count(entry.hits)],
    ["Failures", entry.failures ? `${show.count(entry.failures)}` : "none"],
    entry.last_error && ["Last error", el("span", { class: "error", text: entry.last_error })],
    known(entry.retry_ms) && ["Next try", `in ${show.age(entry.retry_ms)}`],
    ["Id", code(entry.id)],
  ];
}

const details = {
  entry: null,
  loadedAt: null,

  open(entry) {
    this.write(entry, entries.rows.get(entry.id)?.loadedAt ?? null);
    setText($("details-error"), "");
    $("details").showModal();
    $("details-close").focus();
  },

  write(entry, loadedAt) {
    this.entry = entry;
    this.loadedAt = loadedAt;
    setText($("details-title"), entry.path);
    for (const button of $("details-do").children) button.hidden = entry.kind === "data";
    this.grow();
  },

  grow() {
    if (this.entry) facts($("details-facts"), entryFacts(this.entry, ageNow(this.entry, this.loadedAt)));
  },

  // After the table was loaded: it may have the entry, or not have it any more.
  async refresh() {
    const { entry } = this;
    if (!entry || !$("details").open) return;
    const row = entries.rows.get(entry.id);
    if (row) {
      this.write(row.entry, row.loadedAt);
      setText($("details-error"), "");
      return;
    }
    try {
      const fresh = await api(`/api/entry${query([["id", entry.id]])}`);
      if (this.entry?.id !== entry.id) return;
      // Asked for right after the table.
      this.write(fresh, entries.at);
      setText($("details-error"), "");
    } catch (error) {
      if (this.entry?.id === entry.id) {
        setText($("details-error"), error.status === 404 ? "It is not held any more: it expired, was replaced, or had to make room." : error.message);
      }
    }
  },

  close() {
    this.entry = null;
    if ($("details").open) $("details").close();
  },

  useTag(tag) {
    this.close();
    $("change-what").value = "tags";
    $("change-name").value = tag;
    form.sync();
    $("change-name").focus();
  },

  // The request that this entry answers, as its inputs tell it.
  explain() {
    const { path, inputs } = this.entry;
    const pairs = inputs.filter((i) => i.kind === "query").map((i) => `${encodeURIComponent(i.name)}=${encodeURIComponent(i.value)}`);
    const cookies = inputs.filter((i) => i.kind === "cookie").map((i) => `${i.name}=${i.value}`);
    const headers = inputs.filter((i) => i.kind === "header").map((i) => `${i.name}: ${i.value}`);
    const host = inputs.filter((i) => i.kind === "host").map((i) => `Host: ${i.value}`);
    if (cookies.length) headers.push(`Cookie: ${cookies.join("; ")}`);
    this.close();
    explain.ask(path + (pairs.length ? `?${pairs.join("&")}` : ""), [...headers, ...host].join("\n"));
  },
};

$("details-close").addEventListener("click", () => details.close());
$("details").addEventListener("close", () => (details.entry = null));
$("details").addEventListener("click", (event) => {
  if (event.target === $("details")) details.close();
});
for (const button of $("details-do").children) {
  button.addEventListener("click", () => {
    if (button.dataset.action === "explain") details.explain();
    else if (details.entry) actOn(button.dataset.action, details.entry);
  });
}

const inputList = (inputs) => inputs.map((input) => el("span", { class: "chip code", text: `${input.kind} ${inputText(input)}` }));
const stamps = (tag) => {
  const times = [];
  if (known(tag.revalidated_at_ms)) times.push(`revalidated ${show.when(tag.revalidated_at_ms)}`);
  if (known(tag.expired_at_ms)) times.push(`expired ${show.when(tag.expired_at_ms)}`);
  return times.join(", ") || "never invalidated";
};

const explain = {
  sync() {
    const tag = $("explain-what").value === "tag";
    $("explain-headers-field").hidden = tag;
    setText($("explain-name-label"), tag ? "Tag" : "Path and query");
    setAttribute($("explain-name"), "placeholder", tag ? "post:42" : "/posts/a?page=2");
  },

  ask(path, headers) {
    $("explain-what").value = "path";
    this.sync();
    $("explain-name").value = path;
    $("explain-headers").value = headers;
    $("explain").scrollIntoView({ block: "nearest" });
    $("explain-name").focus();
    this.submit();
  },

  async submit() {
    const report = $("explain-report");
    const name = $("explain-name").value;
    const headers = $("explain-headers").value.split("\n").map((line) => line.trim()).filter(Boolean);
    try {
      if ($("explain-what").value === "tag") this.tag(await api(`/api/explain${query([["tag", name]])}`));
      else this.request(await api(`/api/explain${query([["path", name], ...headers.map((line) => ["header", line])])}`));
      report.dataset.failed = "no";
    } catch (error) {
      if (error.status === 401) return;
      report.dataset.failed = "yes";
      report.replaceChildren(el("p", { text: error.message }));
    }
    report.hidden = false;
  },

  put(head, pairs) {
    const list = el("dl");
    facts(list, pairs);
    $("explain-report").replaceChildren(head, list);
  },

  tag(found) {
    this.put(el("p", { class: "sentence", text: `${show.many(found.pages, "page")} and ${show.many(found.data, "cached value")} here carry ${found.tag}.` }),
      [["Size", show.bytes(found.bytes)], ["Revalidated", show.when(found.revalidated_at_ms)], ["Expired", show.when(found.expired_at_ms)]]);
  },

  request(found) {
    const counting = found.inputs.filter((input) => input.counts);
    const ignored = found.inputs.filter((input) => !input.counts);
    const { entry } = found;
    this.put(
      el("p", { class: "sentence" }, ...(found.state ? [badge(found.state, found.state.toUpperCase()), " "] : []), el("span", { text: found.text })),
      [
        found.reason && ["Reason", code(found.reason)],
        found.route && ["Route", code(found.route)],
        found.mode && ["Mode", found.mode],
        counting.length > 0 && ["Counts", inputList(counting)],
        ignored.length > 0 && ["Ignored", inputList(ignored)],
        found.known && ["Life", life(found.revalidate_ms, found.expire_ms)],
        entry && ["Age", show.age(entry.age_ms)],
        entry?.last_error && ["Last error", el("span", { class: "error", text: entry.last_error })],
        known(entry?.retry_ms) && ["Next try", `in ${show.age(entry.retry_ms)}`],
        found.tags.length > 0 && ["Tags", found.tags.map((tag) => el("p", {}, el("span", { class: "chip code", text: tag.tag }), ` ${stamps(tag)}`))],
        found.marks?.length > 0 && ["Invalidated", found.marks.map((mark) => el("p", {}, el("span", { class: "chip code", text: mark.on }), ` ${stamps(mark)}`))],
        found.then?.length > 0 && ["Asked in turn", found.then.join(" → ")],
        found.key && ["Key", code(found.key)],
      ]);
  },

  clear() {
    $("explain-form").reset();
    $("explain-report").hidden = true;
    $("explain-report").replaceChildren();
    this.sync();
  },
};

$("explain-what").addEventListener("change", () => explain.sync());
$("explain-form").addEventListener("submit", (event) => {
  event.preventDefault();
  explain.submit();
});
