/** Scanning of scalars: plain, quoted and block. Each function starts at the scalar and stops behind it. */
import { type Cursor, isBlank, isBlankOrEnd, isBreak, isBreakOrEnd, isDigit, isHex } from './cursor.ts';
import { end } from './reader.ts';

/** Line breaks between two pieces of a flow scalar: one LF becomes a space, more lose the first. */
function fold(first: string, more: string): string {
  if (!first.startsWith('\n')) return first + more;
  return more === '' ? ' ' : more;
}

const flowEnds = new Set([',', '[', ']', '{', '}']);
function endsInFlow(cursor: Cursor): boolean {
  const c = cursor.peek();
  if (c === '?') return isBlankOrEnd(cursor.peek(1));
  if (c === ':') return [' ', ',', ']', '}'].includes(cursor.peek(1));
  return flowEnds.has(c);
}

/**
 * @param indent column of the block the scalar stands in
 * @returns the value, and whether the scalar ended on a later line (then a simple key may follow)
 */
export function scanPlain(
  cursor: Cursor,
  indent: number,
  inFlow: boolean,
): { value: string; broke: boolean } {
  let value = '';
  let blanks = '';
  let firstBreak = '';
  let moreBreaks = '';
  let broke = false;
  for (;;) {
    if (cursor.atDocumentIndicator() || cursor.peek() === '#') break;
    while (!isBlankOrEnd(cursor.peek())) {
      if (cursor.peek() === ':' && isBlankOrEnd(cursor.peek(1))) break;
      if (inFlow && endsInFlow(cursor)) break;
      value += broke ? fold(firstBreak, moreBreaks) : blanks;
      blanks = firstBreak = moreBreaks = '';
      broke = false;
      value += cursor.read();
      cursor.look(2);
    }
    if (!isBlank(cursor.peek()) && !isBreak(cursor.peek())) break;
    while (isBlank(cursor.peek()) || isBreak(cursor.peek())) {
      if (isBlank(cursor.peek())) {
        if (broke && cursor.column < indent + 1 && cursor.peek() === '\t') {
          throw cursor.error('a tab where indentation is expected');
        }
        const blank = cursor.read();
        if (!broke) blanks += blank;
      } else if (broke) {
        moreBreaks += cursor.readLine();
      } else {
        blanks = '';
        firstBreak = cursor.readLine();
        broke = true;
      }
    }
    if (!inFlow && cursor.column < indent + 1) break;
  }
  return { value, broke };
}

const escapes: ReadonlyMap<string, string> = new Map([
  ['0', '\0'],
  ['a', '\x07'],
  ['b', '\b'],
  ['t', '\t'],
  ['\t', '\t'],
  ['n', '\n'],
  ['v', '\v'],
  ['f', '\f'],
  ['r', '\r'],
  ['e', '\x1b'],
  [' ', ' '],
  ['"', '"'],
  ["'", "'"],
  ['\\', '\\'],
  ['N', '\u0085'],
  ['_', '\u00a0'],
  ['L', '\u2028'],
  ['P', '\u2029'],
]);
const escapeDigits: ReadonlyMap<string, number> = new Map([
  ['x', 2],
  ['u', 4],
  ['U', 8],
]);

/** At a backslash that does not stand before a line break. A surrogate cannot be escaped, not even in a pair. */
function scanEscape(cursor: Cursor): string {
  const letter = cursor.peek(1);
  const simple = escapes.get(letter);
  const digits = escapeDigits.get(letter);
  if (simple === undefined && digits === undefined) throw cursor.error('unknown escape in a quoted scalar');
  cursor.skip(2);
  if (digits === undefined) return simple ?? '';
  cursor.look(digits);
  let hex = '';
  for (let i = 0; i < digits; i++) {
    if (!isHex(cursor.peek())) throw cursor.error('a hexadecimal digit is missing in an escape');
    hex += cursor.read();
  }
  const code = Number.parseInt(hex, 16);
  if ((code >= 0xd800 && code <= 0xdfff) || code > 0x10ffff) {
    throw cursor.error('an escape that is no Unicode character');
  }
  return String.fromCodePoint(code);
}

/** A single- or double-quoted scalar, from its first quote on. */
export function scanQuoted(cursor: Cursor): string {
  const start = cursor.line;
  const quote = cursor.read();
  const single = quote === "'";
  let value = '';
  for (;;) {
    if (cursor.atDocumentIndicator()) throw cursor.error('a document ends inside a quoted scalar', start);
    if (cursor.peek() === end) throw cursor.error('the text ends inside a quoted scalar', start);
    let broke = false;
    while (!isBlankOrEnd(cursor.peek())) {
      const c = cursor.peek();
      if (single && c === quote && cursor.peek(1) === quote) {
        value += quote;
        cursor.skip(2);
      } else if (c === quote) {
        break;
      } else if (!single && c === '\\' && isBreak(cursor.peek(1))) {
        cursor.look(3);
        cursor.skip();
        cursor.readLine();
        broke = true;
        break;
      } else if (!single && c === '\\') {
        value += scanEscape(cursor);
      } else {
        value += cursor.read();
      }
      cursor.look(2);
    }
    if (cursor.peek() === quote) break;
    let blanks = '';
    let firstBreak = '';
    let moreBreaks = '';
    const escaped = broke;
    while (isBlank(cursor.peek()) || isBreak(cursor.peek())) {
      if (isBlank(cursor.peek())) {
        const blank = cursor.read();
        if (!broke) blanks += blank;
      } else if (broke) {
        moreBreaks += cursor.readLine();
      } else {
        firstBreak = cursor.readLine();
        broke = true;
      }
    }
    if (!broke) value += blanks;
    else if (escaped) value += moreBreaks;
    else value += fold(firstBreak, moreBreaks);
  }
  cursor.skip();
  return value;
}

type Chomping = 'strip' | 'clip' | 'keep';

/** The `+2` part of `|+2`, in either order. */
function scanBlockHeader(cursor: Cursor): { chomping: Chomping; increment: number } {
  let chomping: Chomping | undefined;
  let increment = 0;
  const start = cursor.line;
  for (let i = 0; i < 2; i++) {
    const c = cursor.peek();
    if ((c === '+' || c === '-') && chomping === undefined) {
      chomping = c === '+' ? 'keep' : 'strip';
      cursor.skip();
    } else if (isDigit(c) && increment === 0) {
      if (c === '0') throw cursor.error('an indentation of 0 for a block scalar');
      increment = Number(c);
      cursor.skip();
    } else break;
  }
  while (isBlank(cursor.peek())) cursor.skip();
  if (cursor.peek() === '#') while (!isBreakOrEnd(cursor.peek())) cursor.skip();
  if (!isBreakOrEnd(cursor.peek())) throw cursor.error('text behind the start of a block scalar', start);
  cursor.readLine();
  return { chomping: chomping ?? 'clip', increment };
}

/** Goes to the next line with content. @param indent 0 when it is not known yet; then it is found out */
function scanBlockBreaks(cursor: Cursor, indent: number, parent: number): { breaks: string; indent: number } {
  let breaks = '';
  let widest = 0;
  for (;;) {
    while ((indent === 0 || cursor.column < indent) && cursor.peek() === ' ') cursor.skip();
    widest = Math.max(widest, cursor.column);
    if ((indent === 0 || cursor.column < indent) && cursor.peek() === '\t') {
      throw cursor.error('a tab where the indentation of a block scalar is expected');
    }
    if (!isBreak(cursor.peek())) break;
    breaks += cursor.readLine();
  }
  return { breaks, indent: indent === 0 ? Math.max(widest, parent + 1, 1) : indent };
}

/** A literal or folded scalar, from its `|` or `>` on. @param parent column of the block it stands in, or -1 */
export function scanBlock(cursor: Cursor, parent: number): string {
  const literal = cursor.read() === '|';
  const { chomping, increment } = scanBlockHeader(cursor);
  let given = 0;
  if (increment > 0) given = parent >= 0 ? parent + increment : increment + 1;
  let { breaks, indent } = scanBlockBreaks(cursor, given, parent);
  let value = '';
  let lineBreak = '';
  let blankBefore = false;
  while (cursor.column === indent && cursor.peek() !== end) {
    const blankHere = isBlank(cursor.peek());
    if (!literal && !blankBefore && !blankHere && lineBreak.startsWith('\n')) {
      if (breaks === '') value += ' ';
    } else {
      value += lineBreak;
    }
    value += breaks;
    blankBefore = blankHere;
    while (!isBreakOrEnd(cursor.peek())) value += cursor.read();
    lineBreak = cursor.readLine();
    ({ breaks, indent } = scanBlockBreaks(cursor, indent, parent));
  }
  if (chomping !== 'strip') value += lineBreak;
  if (chomping === 'keep') value += breaks;
  return value;
}
