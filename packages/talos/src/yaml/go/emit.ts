/**
 * Values to YAML text, byte for byte as go.yaml.in/yaml/v4 writes it with its v3 defaults, because a schematic's ID is
 * the hash of what that library writes (yaml/go-yaml 1c17b9c internal/libyaml/emitter.go): block style, four
 * spaces a level (two more than the dash below a list item), lines never folded, the simplest style that gives a scalar
 * back. Where its releases differ, the dialect decides.
 */
import { compareKeys } from './key-order.ts';
import { defaultDialect, type Representation, represent, type YamlDialect } from './scalar.ts';
import { type Scalar, Timestamp, type YamlMap, type YamlValue } from './value.ts';

/** A mapping written in the order given, as a Go struct is. */
export class YamlStruct {
  readonly entries: readonly (readonly [string, Emittable])[];

  constructor(entries: readonly (readonly [string, Emittable])[]) {
    this.entries = entries;
  }
}
export type Emittable = YamlValue | YamlStruct | readonly Emittable[];

const step = 4;
/** Bytes of a key that may stand before its colon without a question mark. */
const maxSimpleKey = 128;

const shortEscapes: ReadonlyMap<string, string> = new Map([
  ['\0', '0'],
  ['\x07', 'a'],
  ['\b', 'b'],
  ['\t', 't'],
  ['\n', 'n'],
  ['\v', 'v'],
  ['\f', 'f'],
  ['\r', 'r'],
  ['\x1b', 'e'],
  ['"', '"'],
  ['\\', '\\'],
  ['\u0085', 'N'],
  ['\u00a0', '_'],
  ['\u2028', 'L'],
  ['\u2029', 'P'],
]);

function escaped(c: string): string {
  const short = shortEscapes.get(c);
  if (short !== undefined) return `\\${short}`;
  const code = c.codePointAt(0) ?? 0;
  const hex = code.toString(16).toUpperCase();
  if (code <= 0xff) return `\\x${hex.padStart(2, '0')}`;
  return code <= 0xffff ? `\\u${hex.padStart(4, '0')}` : `\\U${hex.padStart(8, '0')}`;
}

/** CR, LF, NEL, LS and PS. */
const breaks = new Set(['\r', '\n', '\u0085', '\u2028', '\u2029']);
const isBreak = (c: string): boolean => breaks.has(c);
const isBlank = (c: string): boolean => c === ' ' || c === '\t';

/** What is written unescaped: LF, and the BMP without controls, surrogates and the byte order mark. */
function isPrintable(c: string): boolean {
  const code = c.codePointAt(0) ?? 0;
  return (
    code === 0x0a ||
    (code >= 0x20 && code <= 0x7e) ||
    (code >= 0xa0 && code <= 0xd7ff) ||
    (code >= 0xe000 && code <= 0xfffd && code !== 0xfeff)
  );
}

/** What the characters of a scalar let it be written as. */
interface Analysis {
  readonly multiline: boolean;
  readonly plainAllowed: boolean;
  readonly singleAllowed: boolean;
  readonly literalAllowed: boolean;
}

function analyze(text: readonly string[], { spacedLiterals }: YamlDialect): Analysis {
  if (text.length === 0) {
    return { multiline: false, plainAllowed: true, singleAllowed: true, literalAllowed: false };
  }
  const head = text.slice(0, 3).join('');
  let indicator = head === '---' || head === '...';
  let special = false;
  let tab = false;
  let multiline = false;
  let spaceAfterBreak = false;
  let breakAfterSpace = false;
  let spacedBefore = true;
  text.forEach((c, i) => {
    const spacedAfter = i + 1 >= text.length || isBlank(text[i + 1] ?? '');
    if (i === 0) {
      if (/^[#,[\]{}&*!|>'"%@`]$/.test(c) || (/^[?:-]$/.test(c) && spacedAfter)) indicator = true;
    } else if ((c === ':' && spacedAfter) || (c === '#' && spacedBefore)) {
      indicator = true;
    }
    if (c === '\t') tab = true;
    else if (!isPrintable(c)) special = true;
    const before = text[i - 1] ?? '';
    if (c === ' ' && isBreak(before)) spaceAfterBreak = true;
    if (isBreak(c)) {
      multiline = true;
      if (before === ' ') breakAfterSpace = true;
    }
    spacedBefore = isBlank(c) || isBreak(c) || c === '\0';
  });
  const [first = '', last = ''] = [text[0], text.at(-1)];
  const open = first === ' ' || isBreak(first) || last === ' ' || isBreak(last);
  const singleAllowed = !(spaceAfterBreak || breakAfterSpace || tab || special);
  return {
    multiline,
    plainAllowed: singleAllowed && !open && !multiline && !indicator,
    singleAllowed,
    literalAllowed: !special && (spacedLiterals || (last !== ' ' && !breakAfterSpace)),
  };
}

type Parent = 'root' | 'list' | 'mapping';

class Emitter {
  readonly #dialect: YamlDialect;
  #out = '';
  #column = 0;
  #indent = -1;
  /** The last character separates: no space is needed. */
  #whitespace = true;
  /** Nothing but indentation and indicators stands on this line. */
  #indention = true;

  constructor(dialect: YamlDialect) {
    this.#dialect = dialect;
  }

  document(value: Emittable): string {
    this.#node(value, 'root');
    this.#writeIndent();
    return this.#out;
  }

  #node(value: Emittable, parent: Parent): void {
    if (isScalar(value)) {
      this.#scalar(represent(value, this.#dialect), parent, false);
      return;
    }
    const indent = this.#indent;
    if (indent < 0) this.#indent = 0;
    else this.#indent = deeper(indent, parent);
    if (isList(value)) this.#list(value);
    else this.#mapping(value);
    this.#indent = indent;
  }

  #list(items: readonly Emittable[]): void {
    if (items.length === 0) this.#indicator('[]', true);
    for (const item of items) {
      this.#writeIndent();
      this.#indicator('-', true, true);
      this.#node(item, 'list');
    }
  }

  #mapping(value: YamlMap | YamlStruct): void {
    const entries: readonly (readonly [Scalar, Emittable])[] =
      value instanceof YamlStruct ? value.entries : value.entries().sort(([a], [b]) => compareKeys(a, b));
    if (entries.length === 0) this.#indicator('{}', true);
    for (const [key, item] of entries) {
      this.#writeIndent();
      const representation = represent(key, this.#dialect);
      if (isSimpleKey(representation)) {
        this.#scalar(representation, 'mapping', true);
        this.#indicator(':', false);
      } else {
        this.#indicator('?', true, true);
        this.#scalar(representation, 'mapping', false);
        this.#writeIndent();
        this.#indicator(':', true, true);
      }
      this.#node(item, 'mapping');
    }
  }

  #scalar({ text, tag, style }: Representation, parent: Parent, asKey: boolean): void {
    const characters = Array.from(text);
    const { plainAllowed, singleAllowed, literalAllowed } = analyze(characters, this.#dialect);
    let chosen = style;
    if (chosen === 'plain' && (!plainAllowed || (text === '' && asKey))) chosen = 'single';
    if (chosen === 'single' && !singleAllowed) chosen = 'double';
    if (chosen === 'literal' && (!literalAllowed || asKey)) chosen = 'double';
    if (tag !== undefined) this.#indicator(tag, true);
    const indent = this.#indent;
    this.#indent = deeper(indent, parent);
    if (chosen === 'plain') this.#plain(characters);
    else if (chosen === 'single') this.#single(characters);
    else if (chosen === 'double') this.#double(characters);
    else this.#literal(characters, this.#indent - Math.max(indent, 0));
    this.#indent = indent;
  }

  #plain(text: readonly string[]): void {
    if (text.length > 0) this.#indicator(text.join(''), true);
    this.#indention = false;
  }

  #single(text: readonly string[]): void {
    this.#indicator("'", true);
    let broke = false;
    for (const c of text) {
      if (isBreak(c)) {
        if (!broke && c === '\n') this.#lineBreak();
        this.#writeBreak(c);
        broke = true;
        continue;
      }
      if (broke && c !== ' ') this.#writeIndent();
      this.#put(c === "'" ? "''" : c);
      if (c !== ' ') {
        this.#indention = false;
        broke = false;
      }
    }
    this.#indicator("'", false);
    this.#indention = false;
  }

  #double(text: readonly string[]): void {
    this.#indicator('"', true);
    // With a byte order mark in front, the library takes every character for one and escapes it.
    const escapeAll = text[0] === '\ufeff';
    for (const c of text) {
      const plain = !escapeAll && isPrintable(c) && !isBreak(c) && c !== '"' && c !== '\\';
      this.#put(plain ? c : escaped(c));
    }
    this.#indicator('"', false);
    this.#indention = false;
  }

  /** @param depth columns between it and its parent */
  #literal(text: readonly string[], depth: number): void {
    this.#indicator('|', true);
    const hint = literalHint(text, depth, this.#dialect);
    if (hint !== undefined) this.#indicator(String(hint), false);
    if (!isBreak(text.at(-1) ?? '')) this.#indicator('-', false);
    else if (text.length === 1 || isBreak(text.at(-2) ?? '')) this.#indicator('+', false);
    this.#lineBreak();
    this.#whitespace = true;
    let broke = true;
    for (const c of text) {
      if (isBreak(c)) {
        this.#writeBreak(c);
        broke = true;
        continue;
      }
      if (broke) this.#writeIndent();
      this.#put(c);
      this.#indention = false;
      broke = false;
    }
  }

  #put(text: string): void {
    this.#out += text;
    this.#column += text.length;
  }

  #lineBreak(): void {
    this.#out += '\n';
    this.#column = 0;
    this.#indention = true;
  }

  /** A line break of a scalar: LS and PS stay what they are. */
  #writeBreak(c: string): void {
    if (c === '\n') this.#lineBreak();
    else {
      this.#out += c;
      this.#column = 0;
      this.#indention = true;
    }
  }

  #indicator(text: string, needsSpace: boolean, keepsIndention = false): void {
    if (needsSpace && !this.#whitespace) this.#put(' ');
    this.#put(text);
    this.#whitespace = false;
    this.#indention = this.#indention && keepsIndention;
  }

  #writeIndent(): void {
    const indent = Math.max(this.#indent, 0);
    if (!this.#indention || this.#column > indent || (this.#column === indent && !this.#whitespace)) {
      this.#lineBreak();
    }
    if (this.#column < indent) this.#put(' '.repeat(indent - this.#column));
    this.#whitespace = true;
  }
}

/** The indentation that a literal must say, since its first line does not show it. */
function literalHint(text: readonly string[], depth: number, dialect: YamlDialect): number | undefined {
  const [first = ''] = text;
  if (dialect.literalHint === 'relative') {
    const ink = text.find((c) => !isBreak(c));
    return ink !== undefined && isBlank(ink) ? depth : undefined;
  }
  // The step, not the real indentation: below a list item no reader gets such a text back.
  const isHidden = first === ' ' || (dialect.literalHint === 'space-or-break' && isBreak(first));
  return isHidden ? step : undefined;
}

function isScalar(value: Emittable): value is Scalar {
  return typeof value !== 'object' || value === null || value instanceof Timestamp;
}

function isList(value: Emittable): value is readonly Emittable[] {
  return Array.isArray(value);
}

/** Below a list item two columns, else to the next multiple of the step. */
function deeper(indent: number, parent: Parent): number {
  if (indent < 0) return step;
  return parent === 'list' ? indent + 2 : step * Math.floor((indent + step) / step);
}

function isSimpleKey({ text, tag }: Representation): boolean {
  return Buffer.byteLength(text) + (tag?.length ?? 0) <= maxSimpleKey && !Array.from(text).some(isBreak);
}

/** @returns the document, ending in a line break; what the bounds of the reader let through stays below 6 MB */
export function emitYaml(value: Emittable, dialect: YamlDialect = defaultDialect): string {
  return new Emitter(dialect).document(value);
}

/** What configuration consists of. Undefined members are left out; no text may begin with white space. */
export type Plain =
  | string
  | number
  | boolean
  | readonly Plain[]
  | { readonly [key: string]: Plain | undefined };

/** One YAML document. */
export function yamlText(value: Plain, comment = ''): string {
  const lines = comment === '' ? [] : comment.trim().split('\n');
  const head = lines.map((line) => `# ${line}`.trimEnd()).join('\n');
  return `${head}${head === '' ? '' : '\n'}${emitYaml(emittable(value))}`;
}

/** Several documents in one file. */
export function yamlDocuments(documents: readonly string[]): string {
  return documents.join('---\n');
}

function emittable(value: Plain): Emittable {
  if (typeof value === 'string' || typeof value === 'boolean') return value;
  if (typeof value === 'number') return BigInt(value);
  if (Array.isArray(value)) return (value as readonly Plain[]).map(emittable);
  const entries = Object.entries(value as Readonly<Record<string, Plain | undefined>>);
  return new YamlStruct(
    entries.flatMap(([key, member]) => (member === undefined ? [] : [[key, emittable(member)] as const])),
  );
}
