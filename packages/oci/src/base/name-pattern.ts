/** Patterns that choose names: `--only 'ghcr.io/siderolabs/*'`. */

/**
 * A pattern of the operator for whole names: `*` stands for any text, `?` for one character. It remembers whether it has matched:
 * one that matches nothing is a mistake.
 */
export class NamePattern {
  readonly flag: string;
  readonly text: string;
  readonly #parts: readonly string[];
  isUsed = false;

  /** @param flag that it was given with, for messages */
  constructor(flag: string, text: string) {
    this.flag = flag;
    this.text = text;
    this.#parts = text.split(/\*+/);
  }

  /** Greedy from the left, so that no text takes more than linear time for each `*`. */
  matches(text: string): boolean {
    const isMatch = fits(this.#parts, text);
    if (isMatch) this.isUsed = true;
    return isMatch;
  }
}

/** @param parts what stands between the stars */
function fits(parts: readonly string[], text: string): boolean {
  const [first = '', ...others] = parts;
  if (!startsAt(text, 0, first)) return false;
  const last = others.pop();
  if (last === undefined) return text.length === first.length;
  let at = first.length;
  for (const part of others) {
    while (at + part.length <= text.length && !startsAt(text, at, part)) at++;
    if (at + part.length > text.length) return false;
    at += part.length;
  }
  return text.length - last.length >= at && startsAt(text, text.length - last.length, last);
}

function startsAt(text: string, at: number, part: string): boolean {
  if (at + part.length > text.length) return false;
  for (let i = 0; i < part.length; i++) if (part[i] !== '?' && part[i] !== text[at + i]) return false;
  return true;
}
