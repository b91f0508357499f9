/** The error of this package: a union code that programs match on, one line for people, and the cause. */

/**
 * BAD_YAML: the text is not YAML as the Image Factory reads it. BAD_SCHEMATIC: what the factory answers 400 to.
 * BAD_VERSION, BAD_MEDIA_NAME, BAD_IMAGE: text that breaks its grammar. UNKNOWN_TALOS_VERSION: no row in the table.
 * BAD_RUNNING: output of a tool that does not say what runs.
 */
export type TalosErrorCode =
  | 'BAD_YAML'
  | 'BAD_SCHEMATIC'
  | 'BAD_VERSION'
  | 'BAD_MEDIA_NAME'
  | 'BAD_IMAGE'
  | 'UNKNOWN_TALOS_VERSION'
  | 'BAD_RUNNING';

export class TalosError extends Error {
  readonly code: TalosErrorCode;

  /** @param message one line: what failed, where, what to do next; never a secret, never a whole input */
  constructor(code: TalosErrorCode, message: string, options: { readonly cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'TalosError';
    this.code = code;
  }
}

/** Untrusted text for a message: quoted, escaped to printable ASCII, at most 80 characters of it. */
export function quoted(text: string): string {
  const cut = text.length > 80 ? `${text.slice(0, 80)}…` : text;
  return JSON.stringify(cut).replace(
    /[^\u0020-\u007e…]/g,
    (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/** The name somebody meant: the nearest of those there are, when it is near enough to be a slip. */
/**
 * @param within edits that still count as near
 * @returns the one with the fewest edits; undefined when none is near
 */
export function nearestName(
  name: string,
  names: readonly string[],
  within = Math.max(2, Math.floor(name.length / 2) - 1),
): string | undefined {
  let best: string | undefined;
  let bestDistance = within + 1;
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

/** The text of anything thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
