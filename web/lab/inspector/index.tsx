// Looks into a lane: why a server was chosen.
import type { Lane } from "../state";

export function Inspector(_: { lane: Lane }) {
  return null;
}
