// Runs the gateway on a free port of this machine, with an empty KV, until its standard input ends.
//   node start.mjs <folder with node_modules> <worker> <token>
import { createRequire } from "node:module";
import { join } from "node:path";

const [modules, worker, token] = process.argv.slice(2);
const { Miniflare } = createRequire(join(modules, "package.json"))("miniflare");
const gateway = new Miniflare({
  host: "127.0.0.1",
  port: 0,
  cf: false,
  modules: true,
  scriptPath: worker,
  compatibilityDate: "2025-11-01",
  kvNamespaces: ["KV"],
  bindings: { TOKEN: token },
});
const end = () => gateway.dispose().finally(() => process.exit());
process.stdin.on("end", end).on("error", end).resume();
console.log((await gateway.ready).port);
