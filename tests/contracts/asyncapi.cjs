// Reads the AsyncAPI document whose path is given, references followed, and prints the errors and
// warnings of AsyncAPI's own parser, a JSON array of texts. The rest is hints, that there is a newer
// version of AsyncAPI for example.
const { Parser, DiagnosticSeverity, fromFile } = require("@asyncapi/parser");

async function main() {
  const { diagnostics } = await fromFile(new Parser(), process.argv[2]).parse();
  const faults = diagnostics.filter((each) => each.severity <= DiagnosticSeverity.Warning);
  console.log(JSON.stringify(faults.map((each) => `${each.message} (at ${each.path.join("/")})`)));
}

main();
