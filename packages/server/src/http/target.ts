/**
 * The request target, taken apart before anything looks at it. Only origin form, no empty and no dot segments, no
 * control characters, no second reading: what cannot be understood in one way is refused (T54, F51).
 * Source: RFC 9112 section 3.2; RFC 3986 section 3.3.
 */

export interface Target {
  readonly segments: readonly string[];
  readonly query: URLSearchParams;
}

/** RFC 3986 pchar, with percent-encoding, and the slash. */
const pathPattern = /^\/(?:[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})*$/;
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what this looks for
const refusedInSegment = /[\u0000-\u001f\u007f/\\%]/;

/** @returns undefined when the target is not acceptable */
export function parseTarget(target: string): Target | undefined {
  const mark = target.indexOf('?');
  const path = mark < 0 ? target : target.slice(0, mark);
  if (!pathPattern.test(path)) return undefined;
  const raw = path.slice(1).split('/');
  const segments: string[] = [];
  for (const [i, part] of raw.entries()) {
    let text: string;
    try {
      text = decodeURIComponent(part);
    } catch {
      return undefined;
    }
    const last = i === raw.length - 1;
    if ((text === '' && !last) || text === '.' || text === '..' || refusedInSegment.test(text))
      return undefined;
    segments.push(text);
  }
  return { segments, query: new URLSearchParams(mark < 0 ? '' : target.slice(mark + 1)) };
}
