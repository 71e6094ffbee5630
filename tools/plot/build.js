// Writes one script that defines `vaebookPlot`, and beside it the licences of all that is in it.
import { build } from "esbuild";
import { readdir, readFile, writeFile } from "node:fs/promises";

const TARGET = "../../vaebook/interactive/vendor";
const { metafile } = await build({
  entryPoints: ["entry.js"],
  bundle: true,
  minify: true,
  metafile: true,
  format: "iife",
  globalName: "vaebookPlot",
  charset: "utf8",
  legalComments: "none",
  outfile: `${TARGET}/plot.min.js`,
});
const [{ inputs }] = Object.values(metafile.outputs);
const used = Object.entries(inputs).filter(([, { bytesInOutput }]) => bytesInOutput > 0);
const names = used.map(([file]) => file.match(/node_modules\/((?:@[^/]+\/)?[^/]+)/)?.[1]);
const licences = [];
for (const name of [...new Set(names.filter(Boolean))].sort()) {
  const folder = `node_modules/${name}`;
  const { version, license } = JSON.parse(await readFile(`${folder}/package.json`, "utf8"));
  const file = (await readdir(folder)).find((entry) => /^licen[sc]e/i.test(entry));
  const text = file ? await readFile(`${folder}/${file}`, "utf8") : "";
  licences.push(`${name} ${version} (${license})\n\n${text.trim()}\n`);
}
await writeFile(`${TARGET}/LICENSES.txt`, licences.join(`\n${"-".repeat(72)}\n\n`));
