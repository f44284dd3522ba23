// Reads an AsyncAPI document by its path, follows its references, and prints a JSON array of texts:
// the errors and warnings of AsyncAPI's own parser. It leaves out hints, for example that AsyncAPI
// has a newer version.
const { Parser, DiagnosticSeverity, fromFile } = require("@asyncapi/parser");

async function main() {
  const { diagnostics } = await fromFile(new Parser(), process.argv[2]).parse();
  const errors = diagnostics.filter((each) => each.severity <= DiagnosticSeverity.Warning);
  console.log(JSON.stringify(errors.map((each) => `${each.message} (at ${each.path.join("/")})`)));
}

main();
