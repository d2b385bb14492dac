// Judges Kubernetes objects and Grafana dashboards, one JSON a line on standard input, by the published schemas of their kinds:
// `node validate.mjs FOLDER`.
//
// Values are judged by the validators of @kubernetes-models; they ignore members that do not exist, so these are found by the compiler,
// which knows the types of the same packages. FOLDER takes what it compiles. The kinds of Envoy Gateway, which no package has, are in
// envoy-gateway.json: what the manifests use of its API, and nothing else.
import fs from "node:fs";
import path from "node:path";
import Ajv from "ajv";
import ts from "typescript";

const schemas = JSON.parse(fs.readFileSync(new URL("envoy-gateway.json", import.meta.url)));
const ajv = new Ajv({ strict: true, allErrors: true });
const gateway = "gateway.envoyproxy.io/v1alpha1";
// The packages by the end of the group of their kinds.
const packages = { "istio.io": "@kubernetes-models/istio", "gateway.networking.k8s.io": "@kubernetes-models/gateway-api" };

function home(apiVersion) {
  const group = apiVersion.split("/").at(-2) ?? "";
  const end = Object.keys(packages).find((end) => group === end || group.endsWith(`.${end}`));
  return `${packages[end] ?? "kubernetes-models"}/${apiVersion}`;
}

// A line of what is compiled.
const typed = (type, data) => `{ const object: ${type} = ${JSON.stringify(data)}; }`;
const faults = [];
const source = [];
const names = [];
for (const line of fs.readFileSync(0, "utf8").split("\n").filter((line) => line)) {
  const object = JSON.parse(line);
  const { apiVersion, kind } = object;
  const name = `${kind} ${object.metadata?.name}`;
  if (apiVersion === undefined) {
    source.push(typed('import("@grafana/schema").Dashboard', object));
    names.push(`Dashboard ${object.title}`);
    continue;
  }
  if (apiVersion === gateway) {
    if (!schemas.$defs[kind]) faults.push(`${name}: no such kind`);
    else if (!ajv.validate({ ...schemas, $ref: `#/$defs/${kind}` }, object)) faults.push(`${name}: ${ajv.errorsText()}`);
    continue;
  }
  try {
    const { [kind]: Kind } = await import(home(apiVersion));
    new Kind(object).validate();
    // Each on a line of its own, which a fault of the compiler names. The constructor sets the two that are left out.
    const { apiVersion: _, kind: __, ...data } = object;
    const type = `ConstructorParameters<typeof import(${JSON.stringify(home(apiVersion))}).${kind}>[0]`;
    source.push(typed(type, data));
    names.push(name);
  } catch (error) {
    faults.push(`${name}: ${error.message}`);
  }
}

const folder = process.argv[2];
const file = path.join(folder, "objects.ts");
fs.writeFileSync(file, `${source.join("\n")}\nexport {};\n`);
const program = ts.createProgram([file], {
  noEmit: true,
  strict: true,
  skipLibCheck: true,
  types: [],
  module: ts.ModuleKind.NodeNext,
  moduleResolution: ts.ModuleResolutionKind.NodeNext,
  target: ts.ScriptTarget.ES2022,
});
for (const fault of ts.getPreEmitDiagnostics(program)) {
  const line = fault.file?.fileName.endsWith("objects.ts") ? fault.file.getLineAndCharacterOfPosition(fault.start).line : -1;
  faults.push(`${names[line] ?? "the compiler"}: ${ts.flattenDiagnosticMessageText(fault.messageText, " ")}`);
}
for (const fault of faults) console.log(fault);
process.exit(faults.length ? 1 : 0);
