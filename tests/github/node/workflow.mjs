// Checks workflow files and evaluates expressions with GitHub's own libraries, @actions/workflow-parser and
// @actions/expressions. Reads {"files": {NAME: TEXT}, "expressions": [{"text": ..., "contexts": {...}}]} from standard
// input; writes {"errors": {NAME: [...]}, "values": [...]}.
import { readFileSync } from "node:fs";
import { register } from "node:module";

// the parser imports its schema in the way of bundlers; node wants to be told that it is JSON
const hook = `export const load = (url, context, next) =>
  next(url, url.endsWith(".json") ? { ...context, importAttributes: { type: "json" } } : context);`;
register(`data:text/javascript,${encodeURIComponent(hook)}`);
const { Evaluator, Lexer, Parser, data } = await import("@actions/expressions");
const { convertWorkflowTemplate, NoOperationTraceWriter, parseWorkflow } = await import("@actions/workflow-parser");

function wrapped(value) {
  if (value === null || value === undefined) return new data.Null();
  if (typeof value === "boolean") return new data.BooleanData(value);
  if (typeof value === "number") return new data.NumberData(value);
  if (typeof value === "string") return new data.StringData(value);
  if (Array.isArray(value)) return new data.Array(...value.map(wrapped));
  return dictionary(value);
}

function dictionary(object) {
  return new data.Dictionary(...Object.entries(object).map(([key, value]) => ({ key, value: wrapped(value) })));
}

function evaluated({ text, contexts }) {
  const tokens = new Lexer(text).lex().tokens;
  const tree = new Parser(tokens, Object.keys(contexts), []).parse();
  return JSON.parse(JSON.stringify(new Evaluator(tree, dictionary(contexts)).evaluate(), data.replacer));
}

const request = JSON.parse(readFileSync(0, "utf-8"));
const errors = {};
for (const [name, content] of Object.entries(request.files ?? {})) {
  const parsed = parseWorkflow({ name, content }, new NoOperationTraceWriter());
  if (parsed.value) await convertWorkflowTemplate(parsed.context, parsed.value);
  errors[name] = parsed.context.errors.getErrors().map((error) => error.message);
}
console.log(JSON.stringify({ errors, values: (request.expressions ?? []).map(evaluated) }));
