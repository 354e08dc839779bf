// Which lines of a text are new against another: by the longest common subsequence.

/** For each line of `after`, whether it is not in `before`. */
export function changedLines(before: string, after: string): boolean[] {
  const [a, b] = [before.split("\n"), after.split("\n")];
  const length = Array.from({ length: a.length + 1 }, () => new Uint16Array(b.length + 1));
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) length[i][j] = a[i] === b[j] ? length[i + 1][j + 1] + 1 : Math.max(length[i + 1][j], length[i][j + 1]);
  }
  const changed = b.map(() => true);
  let [i, j] = [0, 0];
  while (i < a.length && j < b.length) {
    if (a[i] === b[j]) { changed[j] = false; i += 1; j += 1; }
    else if (length[i + 1][j] >= length[i][j + 1]) i += 1;
    else j += 1;
  }
  return changed;
}
