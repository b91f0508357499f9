/**
 * The text of a header, read one token after the other by its grammar: what is only half understood must not pass for a
 * shorter header. Sources: RFC 9110 section 5.6 (common rules), RFC 8288 section 3, RFC 9110 section 11.6.1.
 */

/** Source: RFC 9110 section 5.6.4. */
const quotedString = /"((?:[^"\\]|\\[\t\x20-\x7e\x80-\xff])*)"/y;

export class HeaderScanner {
  /** Index of the next character. */
  at = 0;
  readonly #text: string;

  constructor(text: string) {
    this.#text = text;
  }

  get isAtEnd(): boolean {
    return this.at >= this.#text.length;
  }

  /** True when the next character is this one. */
  isAt(character: string): boolean {
    return this.#text[this.at] === character;
  }

  /** What the pattern matches right here, and moves behind it. @param pattern sticky @returns undefined where it does not match */
  take(pattern: RegExp): RegExpExecArray | undefined {
    pattern.lastIndex = this.at;
    const match = pattern.exec(this.#text);
    if (match === null) return undefined;
    this.at = pattern.lastIndex;
    return match;
  }

  /** The content of a quoted string, without its escapes. */
  takeQuoted(): string | undefined {
    return this.take(quotedString)?.[1]?.replace(/\\(.)/g, '$1');
  }
}
