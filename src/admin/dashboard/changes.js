// Invalidation and regeneration: from a row, from the panel of an entry, from the form.

const NAMES = { tags: "Tag", paths: "Path", prefixes: "Prefix", routes: "Route" };
const DONE = { revalidate: "Revalidated", expire: "Expired" };
const VERBS = { revalidate: "Revalidate", expire: "Expire", regenerate: "Regenerate" };
const MEANS = {
  revalidate: "What is held is served once more while a new one is rendered.",
  expire: "Nothing that is held now will be served again: who asks next waits for a render.",
};

// What was done, in words: `{ text, failed }`.
async function change(verb, kind, name) {
  const what = kind === "all" ? "everything" : `${NAMES[kind].toLowerCase()} ${name}`;
  try {
    if (verb === "regenerate") {
      const done = await api("/api/regenerate", kind === "tags" ? { tag: name } : { path: name });
      const others = done.local_only ? " The store is out of reach: other processes are told when it is back." : "";
      if (done.total === 0) {
        return { text: `Revalidated ${what}. No page of it is held here, so none was rendered.${others}`, failed: done.local_only };
      }
      const count = `${done.done} of ${show.many(done.total, "page")} rendered`;
      const failed = done.failed ? `, ${done.failed} failed: the old ${done.failed === 1 ? "page is" : "pages are"} kept` : "";
      return { text: `Regenerated ${what}: ${count}${failed}${done.finished ? "." : " so far; it goes on."}${others}`, failed: done.failed > 0 || done.local_only };
    }
    const names = Object.fromEntries(Object.keys(NAMES).map((key) => [key, key === kind ? [name] : []]));
    const done = await api(`/api/${verb}`, { ...names, all: kind === "all" });
    return { text: `${DONE[done.verb] ?? DONE[verb]} ${what}: ${show.many(done.marks, "mark")}, stamp ${done.stamp}.` };
  } catch (error) {
    if (error.status === 401) return null;
    if (error.status === 503) return { text: `Only in this process: ${error.message}`, failed: true };
    return { text: `Could not ${verb} ${what}: ${error.message}`, failed: true };
  } finally {
    entries.load();
  }
}

// Of an entry, its path: all variants of it. What was asked once is not asked again while it runs.
const running = new Set();
async function actOn(verb, entry) {
  const key = `${verb} ${entry.path}`;
  if (running.has(key)) return;
  running.add(key);
  try {
    const done = await change(verb, "paths", entry.path);
    if (done) toast.show(done.text, done.failed);
  } finally {
    running.delete(key);
  }
}

// A question in the page, answered with true or false. Escape is no.
function confirmed(title, text, verb) {
  const box = $("confirm");
  setText($("confirm-title"), title);
  setText($("confirm-text"), text);
  setText($("confirm-yes"), VERBS[verb]);
  setAttribute($("confirm-yes"), "data-danger", verb === "expire" ? "yes" : null);
  return new Promise((answer) => {
    let yes = false;
    const agree = () => {
      yes = true;
      box.close();
    };
    $("confirm-yes").addEventListener("click", agree);
    box.addEventListener("close", () => {
      $("confirm-yes").removeEventListener("click", agree);
      answer(yes);
    }, { once: true });
    box.showModal();
    $("confirm-no").focus();
  });
}
$("confirm-no").addEventListener("click", () => $("confirm").close());

const form = {
  verb: () => document.querySelector("#change-form input[name=verb]:checked").value,

  // What can be regenerated is what the cache can look up: a tag or a path.
  sync() {
    const kind = $("change-what").value;
    const all = kind === "all";
    $("change-name-field").hidden = all;
    $("change-name").disabled = all;
    setText($("change-name-label"), NAMES[kind] ?? "");
    setAttribute($("change-name"), "list", { tags: "tags", routes: "route-names" }[kind] ?? null);
    setAttribute($("change-name"), "placeholder", { tags: "post:42", routes: "/posts/{slug}" }[kind] ?? "/posts");
    const regenerate = document.querySelector("#change-form input[value=regenerate]");
    regenerate.disabled = kind !== "tags" && kind !== "paths";
    if (regenerate.disabled && regenerate.checked) document.querySelector("#change-form input[value=revalidate]").checked = true;
    setText($("change-submit"), all ? `${VERBS[this.verb()]} everything` : VERBS[this.verb()]);
    setAttribute($("change-submit"), "data-danger", this.verb() === "expire" ? "yes" : null);
  },

  async submit(event) {
    event.preventDefault();
    const kind = $("change-what").value;
    const name = $("change-name").value;
    const verb = this.verb();
    if (this.busy) return;
    if (kind === "all" || kind === "routes") {
      const what = kind === "all" ? "everything" : `the route ${name}`;
      if (!(await confirmed(`${VERBS[verb]} ${what}?`, MEANS[verb], verb))) return;
    }
    const report = $("change-report");
    this.busy = true;
    report.hidden = false;
    report.dataset.failed = "no";
    setText(report, verb === "regenerate" ? "Rendering…" : "Asking…");
    try {
      const done = await change(verb, kind, name);
      if (!done) return;
      report.dataset.failed = done.failed ? "yes" : "no";
      setText(report, done.text);
    } finally {
      this.busy = false;
    }
  },

  clear() {
    $("change-form").reset();
    $("change-report").hidden = true;
    setText($("change-report"), "");
    this.sync();
  },
};

$("change-what").addEventListener("change", () => form.sync());
for (const radio of document.querySelectorAll("#change-form input[name=verb]")) radio.addEventListener("change", () => form.sync());
$("change-form").addEventListener("submit", (event) => form.submit(event));
form.sync();
