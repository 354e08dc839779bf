// Entry of the lab.
import { render } from "preact";
import "../shared/tokens.css";
import "../shared/base.css";
import "./lab.css";
import "./stage/stage.css";
import "./playback/playback.css";
import "./controls/controls.css";
import { App } from "./app";
import { begin } from "./begin";

render(<App />, document.getElementById("page")!);
void begin();
