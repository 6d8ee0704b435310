// Bundles src/ into bundle/, or into the given folder: script, style, and the licences of the bundled packages.

import { readFileSync, writeFileSync, existsSync, mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const out = process.argv[2] ?? join(here, "bundle");
mkdirSync(out, { recursive: true });
const target = ["chrome120", "firefox120", "safari17"];
const common = { absWorkingDir: here, bundle: true, minify: true, charset: "utf8", logLevel: "warning", metafile: true };

const script = await build({
  ...common,
  entryPoints: ["src/main.ts"],
  outfile: join(out, "report.js"),
  format: "iife",
  legalComments: "none",
  target,
});
await build({ ...common, entryPoints: ["src/report.css"], outfile: join(out, "report.css"), target: ["chrome123", "firefox120", "safari17.5"] });

const packages = new Set();
for (const input of Object.keys(script.metafile.inputs)) {
  const match = /node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(input);
  if (match) packages.add(match[1]);
}
const notices = [...packages].sort().map((name) => {
  const folder = join(here, "node_modules", name);
  const { version, license } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  const notice = ["LICENSE", "LICENSE.md", "LICENSE.txt", "license"].map((file) => join(folder, file)).find(existsSync);
  if (notice === undefined) throw new Error(`${name}: no licence file`);
  return `${name} ${version} (${license})\n\n${readFileSync(notice, "utf8").trim()}\n`;
});
writeFileSync(join(out, "LICENSES.txt"), `report.js contains these libraries.\n\n${notices.join(`\n${"-".repeat(80)}\n\n`)}`);
