/** Scanning of what may stand before a node (anchor, alias, tag) and before a document (directives). */
import {
  type Cursor,
  isBlank,
  isBlankOrEnd,
  isBreakOrEnd,
  isDigit,
  isHex,
  isWordCharacter,
} from './cursor.ts';

/** The name behind `&` or `*`: printable ASCII without flow indicators and colon. */
export function scanAnchor(cursor: Cursor): string {
  cursor.skip();
  let name = '';
  while (!cursor.isMarked && /^[!-~]$/.test(cursor.peek()) && !/^[,:[\]{}]$/.test(cursor.peek())) {
    name += cursor.read();
  }
  const after = cursor.peek();
  if (name === '' || !(isBlankOrEnd(after) || ['?', ':', ',', ']', '}', '%', '@', '`'].includes(after))) {
    throw cursor.error('a malformed anchor or alias');
  }
  return name;
}

function scanHandle(cursor: Cursor, directive: boolean): string {
  if (cursor.peek() !== '!') throw cursor.error('a tag must begin with "!"');
  let handle = cursor.read();
  while (isWordCharacter(cursor.peek())) handle += cursor.read();
  if (cursor.peek() === '!') return handle + cursor.read();
  if (directive && handle !== '!') throw cursor.error('a tag handle must end with "!"');
  return handle;
}

/** One character as `%xx`, one to four of them. */
function scanUriEscapes(cursor: Cursor): string {
  const bytes: number[] = [];
  let width = 1;
  do {
    if (cursor.peek() !== '%' || !isHex(cursor.peek(1)) || !isHex(cursor.peek(2))) {
      throw cursor.error('a malformed % escape in a tag');
    }
    const byte = Number.parseInt(cursor.peek(1) + cursor.peek(2), 16);
    if (bytes.length === 0) {
      if (byte >= 0xf8 || (byte >= 0x80 && byte < 0xc0)) throw cursor.error('a % escape that is not UTF-8');
      width = byte < 0x80 ? 1 : byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : 4;
    } else if ((byte & 0xc0) !== 0x80) {
      throw cursor.error('a % escape that is not UTF-8');
    }
    bytes.push(byte);
    cursor.skip(3);
  } while (bytes.length < width);
  return Buffer.from(bytes).toString('utf8');
}

/** @param verbatim flow indicators are allowed, as between `!<` and `>` */
function scanUri(cursor: Cursor, verbatim: boolean): string {
  const allowed = verbatim ? /^[0-9A-Za-z_;/?:@&=+$.!~*'()%,[\]{}-]$/ : /^[0-9A-Za-z_;/?:@&=+$.!~*'()%-]$/;
  let uri = '';
  while (allowed.test(cursor.peek())) uri += cursor.peek() === '%' ? scanUriEscapes(cursor) : cursor.read();
  if (!verbatim && /^[!-~]$/.test(cursor.peek())) throw cursor.error('a character that no tag may have');
  return uri;
}

/** `handle` is empty for a verbatim tag and for the tag `!`. */
export function scanTag(cursor: Cursor): { handle: string; suffix: string } {
  const tag = scanTagText(cursor);
  if (!isBlankOrEnd(cursor.peek())) throw cursor.error('white space is missing behind a tag');
  return tag;
}

function scanTagText(cursor: Cursor): { handle: string; suffix: string } {
  if (cursor.peek(1) === '<') {
    cursor.skip(2);
    const suffix = scanUri(cursor, true);
    if (suffix === '' || cursor.peek() !== '>') throw cursor.error('a malformed verbatim tag');
    cursor.skip();
    return { handle: '', suffix };
  }
  const handle = scanHandle(cursor, false);
  const uri = scanUri(cursor, false);
  if (handle.length > 1 && handle.endsWith('!')) {
    if (uri === '') throw cursor.error('a tag that is only a handle');
    return { handle, suffix: uri };
  }
  const suffix = handle.slice(1) + uri;
  return suffix === '' ? { handle: '', suffix: '!' } : { handle: '!', suffix };
}

export type Directive =
  | { readonly kind: 'version-directive'; readonly version: string }
  | { readonly kind: 'tag-directive'; readonly handle: string; readonly prefix: string };

const skipBlanks = (cursor: Cursor): void => {
  while (isBlank(cursor.peek())) cursor.skip();
};

function scanNumber(cursor: Cursor): string {
  let digits = '';
  while (isDigit(cursor.peek())) digits += cursor.read();
  if (digits === '' || digits.length > 2) throw cursor.error('a malformed %YAML directive');
  return String(Number(digits));
}

/** A whole line that begins with `%`. */
export function scanDirective(cursor: Cursor): Directive {
  cursor.skip();
  let name = '';
  while (isWordCharacter(cursor.peek())) name += cursor.read();
  if (!isBlankOrEnd(cursor.peek())) throw cursor.error('a malformed directive');
  const directive = scanDirectiveValue(cursor, name);
  skipBlanks(cursor);
  if (cursor.peek() === '#') while (!isBreakOrEnd(cursor.peek())) cursor.skip();
  if (!isBreakOrEnd(cursor.peek())) throw cursor.error('text behind a directive');
  cursor.readLine();
  return directive;
}

function scanDirectiveValue(cursor: Cursor, name: string): Directive {
  skipBlanks(cursor);
  if (name === 'YAML') {
    const major = scanNumber(cursor);
    if (cursor.peek() !== '.') throw cursor.error('a malformed %YAML directive');
    cursor.skip();
    return { kind: 'version-directive', version: `${major}.${scanNumber(cursor)}` };
  }
  if (name !== 'TAG') throw cursor.error('an unknown directive');
  const handle = scanHandle(cursor, true);
  if (!isBlank(cursor.peek())) throw cursor.error('a malformed %TAG directive');
  skipBlanks(cursor);
  const prefix = scanUri(cursor, true);
  if (prefix === '' || !isBlankOrEnd(cursor.peek())) throw cursor.error('a malformed %TAG directive');
  return { kind: 'tag-directive', handle, prefix };
}
