/**
 * A position in YAML text, and the character classes of the grammar. Columns and lines count from 1 and in
 * code points.
 *
 * The whole folder reads and writes YAML as go.yaml.in/yaml/v4 does with its v3 defaults, because a schematic's
 * ID is the hash of what that library writes. It is neither YAML 1.1 nor 1.2. Source: yaml/go-yaml 1c17b9c,
 * internal/libyaml.
 */
import { TalosError } from '../errors.ts';
import { end, type Reader } from './reader.ts';

/** CR, LF, NEL, LS and PS. */
export const isBreak = (c: string): boolean =>
  c === '\n' || c === '\r' || c === '\u0085' || c === '\u2028' || c === '\u2029';
export const isBlank = (c: string): boolean => c === ' ' || c === '\t';
export const isBreakOrEnd = (c: string): boolean => c === end || isBreak(c);
export const isBlankOrEnd = (c: string): boolean => isBlank(c) || isBreakOrEnd(c);
export const isDigit = (c: string): boolean => c >= '0' && c <= '9';
export const isHex = (c: string): boolean => /^[0-9A-Fa-f]$/.test(c);
export const isWordCharacter = (c: string): boolean => /^[0-9A-Za-z_-]$/.test(c);

/** What is written unescaped: LF, and the BMP without controls, surrogates and the byte order mark. */
export function isPrintable(c: string): boolean {
  const code = c.codePointAt(0) ?? 0;
  return (
    code === 0x0a ||
    (code >= 0x20 && code <= 0x7e) ||
    (code >= 0xa0 && code <= 0xd7ff) ||
    (code >= 0xe000 && code <= 0xfffd && code !== 0xfeff)
  );
}

export class Cursor {
  readonly #reader: Reader;
  index = 0;
  line = 1;
  column = 1;
  /** Line breaks taken since the last character that is not blank. */
  newlines = 0;

  constructor(reader: Reader) {
    this.#reader = reader;
  }

  /** @throws BAD_YAML where the input is no text */
  peek(ahead = 0): string {
    this.#reader.need(this.index, ahead + 1);
    return this.#reader.at(this.index + ahead);
  }

  /** Has the library look this far although nothing is asked there: more is read, or refused. @throws BAD_YAML */
  look(characters: number): void {
    this.#reader.need(this.index, characters);
  }

  /** What stands ahead, and the end where the input is no text. */
  peekIfText(ahead: number): string {
    try {
      return this.peek(ahead);
    } catch {
      return end;
    }
  }

  /** True where the library takes every character for a byte order mark. */
  get isMarked(): boolean {
    return this.#reader.isMarked;
  }

  skip(count = 1): void {
    for (let i = 0; i < count; i++) this.read();
  }

  /** Takes one character that is no line break. */
  read(): string {
    const c = this.peek();
    if (!isBlank(c)) this.newlines = 0;
    this.index++;
    this.column++;
    return c;
  }

  /** Takes a line break: LF for CR, LF, CR LF and NEL; LS and PS as they are; nothing elsewhere. */
  readLine(): string {
    const c = this.peek();
    if (!isBreak(c)) return '';
    this.index += c === '\r' && this.peek(1) === '\n' ? 2 : 1;
    this.line++;
    this.column = 1;
    this.newlines++;
    return c === '\u2028' || c === '\u2029' ? c : '\n';
  }

  /** True at `---` or `...` at the start of a line, followed by white space or the end. */
  atDocumentIndicator(): boolean {
    this.look(4);
    const c = this.peek();
    return (
      this.column === 1 &&
      (c === '-' || c === '.') &&
      this.peek(1) === c &&
      this.peek(2) === c &&
      isBlankOrEnd(this.peek(3))
    );
  }

  error(what: string, line = this.line): TalosError {
    return new TalosError('BAD_YAML', `line ${line}: ${what}`);
  }
}
