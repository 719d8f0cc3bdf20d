// What the scripts share: a browser, a login, visitors of the site, and everything that the browser complains about.
// Each is called with
//   node <script> <folder with node_modules> <dashboard's URL> <token> <site's URL> <folder for pictures> [more of its own]
// CHROMIUM names another browser than `chromium`.
import assert from "node:assert/strict";
import { accessSync, constants, mkdirSync } from "node:fs";
import { createRequire } from "node:module";
import { basename, delimiter, join, resolve } from "node:path";

const [, self, modules, ...given] = process.argv;
export const [dashboard, token, site, shots, ...more] = given;
const script = basename(self, ".mjs");
if (!shots) {
  console.error(`${script}.mjs needs: <folder with node_modules> <dashboard> <token> <site> <folder for pictures> …`);
  process.exit(2);
}
const { chromium } = createRequire(resolve(modules, "package.json"))("playwright-core");

// For whatever is waited for, on a machine that has much else to do.
export const LIMIT_MS = 60_000;
const STATUS = "x-vinext-cache";
const WIDE = { width: 1280, height: 860 };
const NARROW = { width: 360, height: 740 };

function browserPath() {
  if (process.env.CHROMIUM) return process.env.CHROMIUM;
  for (const folder of ["/usr/bin", ...(process.env.PATH ?? "").split(delimiter)]) {
    try {
      accessSync(join(folder, "chromium"), constants.X_OK);
      return join(folder, "chromium");
    } catch {
      // The next one.
    }
  }
  throw new Error("no chromium in /usr/bin or PATH (Debian: apt-get install chromium)");
}

let step = "the start";
export const begin = (name) => {
  step = name;
  console.log(`- ${name}`);
};

// A visitor of the site, and what the cache has to do for him.
export async function visit(path, wanted) {
  const response = await fetch(new URL(path, site), { signal: AbortSignal.timeout(LIMIT_MS) });
  await response.text();
  assert.equal(response.headers.get(STATUS), wanted, `the answer to ${path}`);
}

export const row = (page, path) => page.locator(`#rows tr[data-path="${path}"]`);
export const inState = (page, path, state) => page.locator(`#rows tr[data-path="${path}"][data-state="${state}"]`).waitFor();
export const invalidation = (page, what) => page.locator('#event-list li[data-event="invalidation"]', { hasText: what }).first();

export async function login(page, secret) {
  await page.locator("#token").fill(secret);
  await page.locator("#login-form button").click();
}

// From the form to numbers that move.
export async function enter(page) {
  begin("the token lets in");
  await login(page, token);
  await page.locator("#app").waitFor();
  await page.locator('#connection[data-connection="live"]').waitFor();
}

// Everything that the browser complains about, but for what the server refuses because it is meant to.
function watch(page, refusals, complaints) {
  page.on("pageerror", (error) => complaints.push(`error: ${error.stack ?? error}`));
  page.on("dialog", (dialog) => {
    complaints.push(`dialog: ${dialog.message()}`);
    dialog.dismiss();
  });
  page.on("console", (message) => {
    const place = message.location().url ?? "";
    const refused = refusals.some(([status, url]) => message.text().includes(`status of ${status}`) && url.test(place));
    if (["error", "warning"].includes(message.type()) && !refused) complaints.push(`console: ${message.text()} (${place})`);
  });
  page.on("request", (request) => {
    const url = request.url();
    if (!url.startsWith("data:") && new URL(url).origin !== new URL(dashboard).origin) complaints.push(`asks another server: ${url}`);
  });
}

export const narrowed = (page) => page.setViewportSize(NARROW);
export const widened = (page) => page.setViewportSize(WIDE);

// Both widths, light and dark.
export async function pictures(page, name) {
  mkdirSync(shots, { recursive: true });
  await page.mouse.move(0, 0);
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme });
    for (const size of [WIDE, NARROW]) {
      await page.setViewportSize(size);
      await page.evaluate(() => scrollTo(0, 0));
      await page.screenshot({ path: join(shots, `${name}-${size.width}-${colorScheme}.png`), fullPage: size === NARROW });
    }
  }
  await page.emulateMedia({ colorScheme: "light" });
  await widened(page);
}

// `act` uses the page; `refusals` are pairs of a status and a URL; `after` is done in any case.
export async function play({ refusals, act, after = async () => {} }) {
  const browser = await chromium.launch({
    executablePath: browserPath(),
    args: [...(process.getuid?.() === 0 ? ["--no-sandbox"] : []), "--disable-dev-shm-usage"],
    timeout: LIMIT_MS,
  });
  let page;
  const complaints = [];
  try {
    const context = await browser.newContext({ viewport: WIDE });
    context.setDefaultTimeout(LIMIT_MS);
    await context.addInitScript(() => {
      document.addEventListener("securitypolicyviolation", (violation) => {
        console.error(`refused by the policy: ${violation.effectiveDirective} ${violation.blockedURI} ${violation.sample}`);
      });
    });
    page = await context.newPage();
    watch(page, refusals, complaints);
    await act(page);
    begin("the browser has nothing to complain about");
    assert.deepEqual(complaints, [], "complaints of the browser");
    console.log(`${script}: the dashboard does what it should`);
  } catch (error) {
    process.exitCode = 1;
    console.error(`FAILED: ${step}\n${error.stack ?? error}`);
    if (complaints.length) console.error(`The browser complains:\n${complaints.join("\n")}`);
    mkdirSync(shots, { recursive: true });
    await page?.screenshot({ path: join(shots, `${script}-failed.png`), fullPage: true })
      .catch((problem) => console.error(`no picture: ${problem}`));
  } finally {
    await after();
    await browser.close();
  }
}
