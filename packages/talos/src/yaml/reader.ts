/**
 * Bytes to characters, only as far as the scanner looks: what stands far behind the first document is never decoded,
 * and may be no text at all. How far that is, the library decides by reading 512 bytes at a time.
 * Source: yaml/go-yaml 1c17b9c internal/libyaml/reader.go.
 */
import { TalosError } from '../errors.ts';

type Encoding = 'utf-8' | 'utf-16le' | 'utf-16be';

const chunkBytes = 512;
const byteOrderMark = '\ufeff';
/** What stands behind the end; no text may hold it. */
export const end = '\0';

/** Tab, line breaks, and everything from U+0020 on but U+FFFE and U+FFFF. */
const isAllowed = (code: number): boolean =>
  (code >= 0x20 && code !== 0xfffe && code !== 0xffff) || code === 0x09 || code === 0x0a || code === 0x0d;

const isHighSurrogate = (unit: number): boolean => (unit & 0xfc00) === 0xd800;
const isLowSurrogate = (unit: number): boolean => (unit & 0xfc00) === 0xdc00;

/** Bytes of the character with this first byte; 0 where none begins so. */
function utf8Width(lead: number): number {
  if (lead < 0x80) return 1;
  if (lead < 0xc0 || lead >= 0xf8) return 0;
  return lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
}

export class Reader {
  readonly #bytes: Uint8Array;
  readonly #characters: string[] = [];
  #encoding: Encoding = 'utf-8';
  /** Bytes already turned into characters, and bytes that were read. */
  #decoded = 0;
  #read = 0;
  #atEnd = false;
  /** The first character that is still kept: all before it were dropped when more were read. */
  #kept = 0;

  /**
   * @param input UTF-8, or UTF-16 with a byte order mark; the mark is taken off
   * @throws BAD_YAML for more bytes than allowed, and for a string that is no Unicode text
   */
  constructor(input: string | Uint8Array, maxBytes: number) {
    const size = typeof input === 'string' ? Buffer.byteLength(input) : input.byteLength;
    if (size > maxBytes) throw new TalosError('BAD_YAML', `${size} bytes, more than the ${maxBytes} allowed`);
    if (typeof input === 'string' && !input.isWellFormed()) {
      throw new TalosError('BAD_YAML', 'it is not Unicode text');
    }
    this.#bytes = typeof input === 'string' ? Buffer.from(input) : input;
    const [first, second, third] = this.#bytes;
    if (first === 0xff && second === 0xfe) this.#encoding = 'utf-16le';
    else if (first === 0xfe && second === 0xff) this.#encoding = 'utf-16be';
    const isMarked = first === 0xef && second === 0xbb && third === 0xbf;
    if (isMarked) this.#decoded = 3;
    else if (this.#encoding !== 'utf-8') this.#decoded = 2;
    this.#read = Math.min(chunkBytes, this.#bytes.length);
  }

  /** The character with this number; `end` behind the last, and where nothing was read yet. */
  at(index: number): string {
    return this.#characters[index] ?? end;
  }

  /** True when the characters kept begin with a byte order mark: the library looks there, wherever it stands. */
  get isMarked(): boolean {
    return this.#characters[this.#kept] === byteOrderMark;
  }

  /**
   * Reads on until `count` characters from `index` on are there, or the end.
   * @throws BAD_YAML for what is no text in the encoding, and for control characters
   */
  need(index: number, count: number): void {
    const characters = this.#characters;
    if (characters.length - index >= count) return;
    this.#kept = index;
    let isFirst = true;
    while (characters.length - index < count) {
      if (!isFirst || this.#decoded === this.#read) this.#readChunk();
      isFirst = false;
      while (this.#decoded < this.#read && this.#decodeOne()) {
        // One character more.
      }
      if (this.#atEnd) {
        characters.push(end);
        return;
      }
    }
  }

  #readChunk(): void {
    const more = Math.min(chunkBytes - (this.#read - this.#decoded), this.#bytes.length - this.#read);
    if (more === 0) this.#atEnd = true;
    this.#read += more;
  }

  /** False when the rest of the character was not read yet. */
  #decodeOne(): boolean {
    const unread = this.#read - this.#decoded;
    const lead = this.#byte(0);
    const isUtf8 = this.#encoding === 'utf-8';
    const width = isUtf8 ? utf8Width(lead) : unread < 2 || !isHighSurrogate(this.#unit(0)) ? 2 : 4;
    if (width > unread) {
      if (this.#atEnd) throw this.#error();
      return false;
    }
    const code = width === 1 ? lead : isUtf8 ? this.#utf8(width) : this.#utf16(width);
    if (code === undefined) throw this.#error();
    if (!isAllowed(code)) throw new TalosError('BAD_YAML', `byte ${this.#decoded}: a control character`);
    this.#characters.push(String.fromCodePoint(code));
    this.#decoded += width;
    return true;
  }

  #byte(ahead: number): number {
    return this.#bytes[this.#decoded + ahead] ?? 0;
  }

  /** Undefined for what is no UTF-8, such as a longer form than needed. */
  #utf8(width: number): number | undefined {
    if (width === 0) return undefined;
    let code = this.#byte(0) & (0x7f >> width);
    for (let i = 1; i < width; i++) {
      const trail = this.#byte(i);
      if ((trail & 0xc0) !== 0x80) return undefined;
      code = (code << 6) | (trail & 0x3f);
    }
    const isShortest = code >= (width === 2 ? 0x80 : width === 3 ? 0x800 : 0x10000);
    return isShortest && (code < 0xd800 || code > 0xdfff) && code <= 0x10ffff ? code : undefined;
  }

  #unit(ahead: number): number {
    return this.#encoding === 'utf-16le'
      ? this.#byte(ahead) | (this.#byte(ahead + 1) << 8)
      : this.#byte(ahead + 1) | (this.#byte(ahead) << 8);
  }

  /** Undefined for half a surrogate pair. */
  #utf16(width: number): number | undefined {
    const unit = this.#unit(0);
    if (isLowSurrogate(unit)) return undefined;
    if (width === 2) return unit;
    const low = this.#unit(2);
    return isLowSurrogate(low) ? 0x10000 + ((unit & 0x3ff) << 10) + (low & 0x3ff) : undefined;
  }

  #error(): TalosError {
    return new TalosError(
      'BAD_YAML',
      `byte ${this.#decoded}: it is not ${this.#encoding.toUpperCase()} text`,
    );
  }
}
