/**
 * Values as the library tells them apart. An integer is a bigint and a floating-point number is a number,
 * because `1000000` and `1e6` are written back differently. A string holds bytes that are no UTF-8 (only
 * `!!binary` brings them) as lone surrogates U+DC80 to U+DCFF, one a byte.
 */

/** A moment in time, in the one form it is written: RFC 3339 with as many digits as needed. */
export class Timestamp {
  readonly text: string;
  /** What two keys share when the library takes them for one. */
  readonly identity: Identity;

  constructor(text: string, identity: Identity) {
    this.text = text;
    this.identity = identity;
  }
}

/** A symbol is equal to nothing but itself. */
export type Identity = string | symbol;

export type YamlValue =
  | null
  | boolean
  | bigint
  | number
  | string
  | Timestamp
  | readonly YamlValue[]
  | YamlMap;
export type Scalar = Exclude<YamlValue, readonly YamlValue[] | YamlMap>;

/** A mapping whose keys may be of any scalar type: `1` and `"1"` are two keys. */
export class YamlMap {
  readonly #entries = new Map<Identity, readonly [Scalar, YamlValue]>();

  get size(): number {
    return this.#entries.size;
  }

  set(key: Scalar, value: YamlValue): void {
    // The library can never find again what it stored under NaN, and writes null.
    this.#entries.set(identityOf(key), [key, Number.isNaN(key) ? null : value]);
  }

  get(key: Scalar): YamlValue | undefined {
    return this.#entries.get(identityOf(key))?.[1];
  }

  /** In the order they came. */
  entries(): (readonly [Scalar, YamlValue])[] {
    return [...this.#entries.values()];
  }
}

/** What two keys share when the library takes them for one. NaN is no other, not even itself. */
export function identityOf(key: Scalar): Identity {
  if (key instanceof Timestamp) return key.identity;
  if (Number.isNaN(key)) return Symbol('NaN');
  return key === null ? 'null' : `${typeof key} ${key}`;
}

const surrogateBase = 0xdc00;

/** The string for bytes, UTF-8 where they are that. */
export function textOfBytes(bytes: Uint8Array): string {
  const text = Buffer.from(bytes).toString('utf8');
  if (Buffer.from(text, 'utf8').equals(bytes)) return text;
  return Array.from(bytes, (byte) => String.fromCharCode(byte < 0x80 ? byte : surrogateBase + byte)).join('');
}

/** The bytes of a string that has lone surrogates, undefined for ordinary text. */
export function bytesOfBinary(text: string): Uint8Array | undefined {
  if (text.isWellFormed()) return undefined;
  return Buffer.concat(
    Array.from(text, (c) => {
      const code = c.codePointAt(0) ?? 0;
      return code >= 0xdc80 && code <= 0xdcff ? Buffer.from([code - surrogateBase]) : Buffer.from(c, 'utf8');
    }),
  );
}
