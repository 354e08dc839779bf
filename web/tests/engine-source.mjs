// Whether the lab's engine in a file was built from this source: node web/tests/engine-source.mjs MODULE SOURCE
import { load } from "./engine-module.mjs";

const [file, source] = process.argv.slice(2);
const built = load(file).call({ op: "catalog" }).source;
console.log(`${file}: ${built}`);
process.exitCode = built === source ? 0 : 1;
