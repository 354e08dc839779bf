// Entry of the report page.
import { render } from "preact";
import "../shared/tokens.css";
import "../shared/base.css";
import "./report.css";
import { App } from "./app";
import { load } from "./load";
import { init } from "./state";

const page = document.getElementById("page")!;

load().then((report) => {
  init(report);
  if (!document.title || document.title.startsWith("<!--")) document.title = `${report.title} – evenkeel`;
  render(<App />, page);
}).catch((error: unknown) => {
  render(<main class="wrap"><h1>The report cannot be shown</h1><p>{error instanceof Error ? error.message : String(error)}</p></main>, page);
  throw error;
});
