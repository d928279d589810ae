// Bundles the softphone into dist/, the folder that the gateway serves.
import { cp, mkdir, rm } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import path from "node:path";
import { build } from "esbuild";

const here = path.dirname(fileURLToPath(import.meta.url));
const dist = path.join(here, "dist");

await rm(dist, { recursive: true, force: true });
await mkdir(dist, { recursive: true });
await build({
  entryPoints: [path.join(here, "src/main.js"), path.join(here, "src/style.css")],
  bundle: true,
  minify: true,
  sourcemap: true,
  format: "esm",
  target: ["chrome110", "firefox115", "safari16"],
  outdir: dist,
  define: { global: "globalThis", "process.env.NODE_ENV": '"production"' },
  legalComments: "linked",
  logLevel: "warning",
});
for (const page of ["index.html", "icon.svg"]) {
  await cp(path.join(here, "src", page), path.join(dist, page));
}
console.log(`softphone bundled in ${path.relative(process.cwd(), dist) || dist}`);
