/**
 * Values as go.yaml.in/yaml/v4 tells them apart. An integer is a bigint and a floating-point number is a number,
 * because `1000000` and `1e6` are written back differently. A string holds bytes that are no UTF-8 (only
 * `!!binary` brings them) as lone surrogates U+DC80 to U+DCFF, one a byte.
 */

/** A moment in time, in the one form it is written: RFC 3339 with as many digits as needed. */
export class Timestamp {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

export type YamlKey = null | boolean | bigint | number | string;
export type Scalar = YamlKey | Timestamp;
export type YamlValue = Scalar | readonly YamlValue[] | YamlMap;

/** A mapping whose keys may be of any scalar type but a date: `1` and `"1"` are two keys. */
export class YamlMap {
  readonly #entries = new Map<string, readonly [YamlKey, YamlValue]>();

  get size(): number {
    return this.#entries.size;
  }

  set(key: YamlKey, value: YamlValue): void {
    this.#entries.set(`${typeof key} ${key}`, [key, value]);
  }

  get(key: YamlKey): YamlValue | undefined {
    return this.#entries.get(`${typeof key} ${key}`)?.[1];
  }

  /** In the order they came. */
  entries(): (readonly [YamlKey, YamlValue])[] {
    return [...this.#entries.values()];
  }
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
