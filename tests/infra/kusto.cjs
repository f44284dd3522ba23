// Reads queries, a JSON array of texts, and prints the errors of Kusto's own parser for each.
// The tables are those of Application Insights, with the columns that the queries need.
require("@kusto/language-service-next/bridge.js");
require("@kusto/language-service-next/Kusto.Language.Bridge.js");
const { GlobalState, KustoCode, Symbols } = globalThis.Kusto.Language;

const common = "timestamp: datetime, operation_Name: string, operation_Id: string, cloud_RoleInstance: string";
const tables = {
  traces: `(${common}, message: string, severityLevel: int)`,
  requests: `(${common}, name: string, url: string, resultCode: string, duration: real, success: string)`,
};
const symbols = Object.entries(tables).map(([name, columns]) => Symbols.TableSymbol.From(columns).WithName(name));
const globals = GlobalState.Default.WithDatabase(new Symbols.DatabaseSymbol.$ctor1("app", symbols));

function errors(query) {
  const found = KustoCode.ParseAndAnalyze(query, globals).GetDiagnostics();
  return System.Linq.Enumerable.from(found).select((d) => `${d.Message} (at ${d.Start})`).ToArray();
}

const queries = JSON.parse(require("node:fs").readFileSync(0, "utf8"));
console.log(JSON.stringify(queries.map(errors)));
