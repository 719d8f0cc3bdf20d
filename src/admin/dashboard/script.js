
"use strict";
const base = location.pathname.replace(/\/$/, "");
const by = (id) => document.getElementById(id);
const say = (text) => { by("said").textContent = text; };

async function post(path, body) {
  const options = { method: "POST", headers: { "x-axum-isr": "1" }, body: body && JSON.stringify(body) };
  try {
    const answer = await fetch(base + path, options);
    const text = await answer.text();
    say(answer.ok && !text ? "done" : text);
  } catch (problem) {
    say(String(problem));
  }
}

by("login").addEventListener("submit", (event) => {
  event.preventDefault();
  post("/login", { token: by("token").value });
  by("token").value = "";
});

by("act").addEventListener("submit", (event) => {
  event.preventDefault();
  const verb = event.submitter.value;
  const name = by("name").value;
  const kind = name.startsWith("/") ? "path" : "tag";
  post("/api/" + verb, verb === "regenerate" ? { [kind]: name } : { [kind + "s"]: [name] });
});

by("logout").addEventListener("click", () => post("/logout"));
