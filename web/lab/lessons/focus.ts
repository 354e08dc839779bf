// Where the focus goes when another lesson or step is shown: to its heading, which is read next. Not when the page opens.
let before = false;

export function arrived(heading: HTMLElement | null): void {
  if (before && heading) {
    heading.focus({ preventScroll: true });
    heading.closest(".lessons")?.scrollIntoView({ block: "start" });
  }
  before = true;
}
