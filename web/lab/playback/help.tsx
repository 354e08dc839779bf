// What the page is and which keys it has.
import { Dialog } from "../overlay";
import { HELP } from "./keys";

export function Help() {
  return (
    <Dialog title="Help">
      <p>Each lane runs the simulator of evenkeel with one strategy. All lanes have the same arrivals, the same requests and the same clock, so what differs is due to the strategy alone.</p>
      <p>Requests go from the clients through the balancer into the queue of a server, and from there into one of its slots. At high speed the lanes show the length of the queues instead of single requests.</p>
      <h3>Keys</h3>
      <dl class="keys">{HELP.map(([key, text]) => <div key={key}><dt><kbd>{key}</kbd></dt><dd>{text}</dd></div>)}</dl>
    </Dialog>
  );
}
