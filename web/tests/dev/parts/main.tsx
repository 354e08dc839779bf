/** @jsxImportSource preact */
// For development only: parts of the lab with sample data. `?inspector=ring_hash` shows one decision.
import { render } from "preact";
import { useSignal } from "@preact/signals";
import "../../../shared/tokens.css";
import "../../../shared/base.css";
import "../../../lab/inspector/inspector.css";
import { Panel } from "../../../lab/inspector/panel";
import { moves, whys } from "../../lab/whys";

function Inspector({ name }: { name: string }) {
  const leaving = useSignal<number | null>(location.search.includes("leave") ? 2 : null);
  return <Panel why={whys[name]} leaving={leaving.value} moves={leaving.value == null ? null : moves} leave={(server) => { leaving.value = server; }} />;
}

const asked = new URLSearchParams(location.search);
const name = asked.get("inspector") ?? "p2c";
render(<main class="wrap" style={{ paddingBlock: "2rem" }}><h2 style={{ marginBottom: "1rem" }}>Why this server? {name}</h2><Inspector name={name} /></main>, document.getElementById("page")!);
