/** The name somebody meant: the nearest of those there are, when it is near enough to be a slip. */

/** @returns the one with the fewest edits; undefined when none is near */
export function nearestName(name: string, names: readonly string[]): string | undefined {
  let best: string | undefined;
  let bestDistance = Math.max(3, Math.floor(name.length / 2));
  for (const other of names) {
    const own = other.slice(other.lastIndexOf('/') + 1);
    // People leave the publisher away.
    const distance = Math.min(editDistance(name.slice(0, 200), other), editDistance(name.slice(0, 200), own));
    if (distance < bestDistance) {
      best = other;
      bestDistance = distance;
    }
  }
  return best;
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const change = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(change, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
