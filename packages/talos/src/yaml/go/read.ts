/**
 * YAML as go.yaml.in/yaml/v4 decodes it into a Go struct: what a scalar is follows from that library's own rules, which
 * are neither YAML 1.1 nor 1.2. Where it leaves a value out without an error (a null for a string, say), the result is
 * undefined. What does not fit is collected and thrown at the end, in the words of the library without the values,
 * which may be secret. Source: yaml/go-yaml 1c17b9c internal/libyaml/constructor.go.
 *
 * Anchors, aliases, merge keys and every tag except `!!binary` are refused: the library accepts them, but no Go program
 * writes them.
 */
import { isMap, isScalar, isSeq, type Node as ParsedNode } from 'yaml';
import { quoted, TalosError } from '../../errors.ts';
import { YamlText } from '../text.ts';
import { resolvePlain } from './scalar.ts';
import { type Scalar, Timestamp, textOfBytes, type YamlKey, YamlMap, type YamlValue } from './value.ts';

interface ScalarNode {
  readonly kind: 'scalar';
  readonly value: Scalar;
  /** As it is written, without quotes; a string field takes numbers like that. */
  readonly text: string;
  readonly tag: string;
  readonly line: number;
}
interface SequenceNode {
  readonly kind: 'sequence';
  readonly tag: '!!seq';
  readonly items: readonly Node[];
  readonly line: number;
}
interface MappingNode {
  readonly kind: 'mapping';
  readonly tag: '!!map';
  readonly entries: readonly (readonly [key: ScalarNode, value: Node])[];
  readonly line: number;
}
/** A place in the document, with the line for messages. */
export type Node = ScalarNode | SequenceNode | MappingNode;

/** By name, what reads the value of a field. */
type FieldReaders = Readonly<Record<string, (node: Node) => unknown>>;
type Fields<F extends FieldReaders> = { readonly [K in keyof F]?: ReturnType<F[K]> };

const maxErrors = 20;
const binaryTag = 'tag:yaml.org,2002:binary';

/**
 * @param input UTF-8, or UTF-16 with a byte order mark; only the first document counts, as for Go's Unmarshal
 * @param maxBytes of the input
 * @param read what to make of the document, by the methods of the reader
 * @throws BAD_YAML for text that is refused, and with all that did not fit
 */
export function readGoYaml<T>(
  input: string | Uint8Array,
  maxBytes: number,
  read: (yaml: GoYamlReader, root: Node) => T,
): T {
  const source = new YamlText(input, maxBytes, (line) => `line ${line}`);
  const [document] = source.documents();
  if (document === undefined) throw new TalosError('BAD_YAML', 'there is no document');
  source.checkPlain(document, binaryTag);
  const root = new TreeBuilder(source).node(document.contents, 1);
  const yaml = new GoYamlReader();
  const value = read(yaml, root);
  yaml.finish();
  return value;
}

/** From the parser's nodes to those of the library. */
class TreeBuilder {
  readonly #source: YamlText;

  constructor(source: YamlText) {
    this.#source = source;
  }

  /** @param line of the node around it, for one that is not written */
  node(node: ParsedNode | null, line: number): Node {
    const own = node?.range ? this.#source.position(node.range[0]).line : line;
    if (isMap(node)) {
      const entries = node.items.map(({ key, value }) => {
        const name = this.#scalar(key, own);
        return [name, this.node(value as ParsedNode | null, name.line)] as const;
      });
      return { kind: 'mapping', tag: '!!map', entries, line: own };
    }
    if (isSeq(node)) {
      const items = node.items.map((item) => this.node(item as ParsedNode | null, own));
      return { kind: 'sequence', tag: '!!seq', items, line: own };
    }
    return this.#scalar(node, own);
  }

  #scalar(node: unknown, around: number): ScalarNode {
    if (!isScalar(node)) return { kind: 'scalar', tag: '!!null', value: null, text: '', line: around };
    const [start, end] = node.range ?? [0, 0];
    const line = node.range ? this.#source.position(start).line : around;
    const whole = this.#source.text;
    let text = node.source ?? '';
    if (node.type === 'QUOTE_DOUBLE') checkEscapes(whole.slice(start, end), line);
    if (node.type === 'BLOCK_LITERAL' || node.type === 'BLOCK_FOLDED') {
      checkBlockEnd(whole, start, end, line);
      // The parser ends the last line of a text that does not.
      if (end >= whole.length && !whole.endsWith('\n')) text = text.replace(/\n$/, '');
    }
    if (node.tag === binaryTag)
      return { kind: 'scalar', tag: '!!binary', value: decodeBase64(text, line), text, line };
    const { tag, value } = node.type === 'PLAIN' ? resolvePlain(text) : { tag: '!!str', value: text };
    return { kind: 'scalar', tag, value, text, line };
  }
}

/** The library has no `\/`, no surrogates, not even in a pair; it reads an empty line behind an escaped line break. */
function checkEscapes(quotedText: string, line: number): void {
  for (const [sequence] of quotedText.matchAll(
    /\\(?:u[dD][89a-fA-F]|U0000[dD][89a-fA-F]|\r?\n[ \t]*\r?\n|[\s\S])/g,
  )) {
    if (sequence === '\\/' || sequence.length > 2) {
      throw new TalosError(
        'BAD_YAML',
        `line ${line}: an escape that Go's YAML does not have; write the character itself`,
      );
    }
  }
}

/** Spaces beyond the indentation are a part of the scalar; the parser drops those on the last lines. */
function checkBlockEnd(text: string, start: number, end: number, line: number): void {
  const blankLines = /(?: *\r?\n)*(?: +$)?/y;
  blankLines.lastIndex = end;
  const written = text.slice(start, end) + (blankLines.exec(text)?.[0] ?? '');
  const [header = '', ...lines] = written.split(/\r?\n/);
  const hasText = (one: string): boolean => /[^ ]/.test(one);
  const hasIndent = /^[^#]*\d/.test(header);
  const first = lines.find(hasText);
  if (first === undefined && !hasIndent) return;
  const indent = hasIndent ? 0 : (first ?? '').search(/[^ ]/);
  const blanks = lines.slice(lines.findLastIndex(hasText) + 1);
  if (blanks.every(({ length }) => length <= indent)) return;
  throw new TalosError('BAD_YAML', `line ${line}: the text ends in a line of spaces; remove them`);
}

/** Standard base64 with padding; line breaks within are skipped. */
function decodeBase64(text: string, line: number): string {
  const digits = text.replace(/[\r\n]/g, '');
  if (digits.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(digits)) {
    throw new TalosError('BAD_YAML', `line ${line}: !!binary value contains invalid base64 data`);
  }
  return textOfBytes(Buffer.from(digits, 'base64'));
}

/** A name from the input, in a message. */
const named = (text: string): string => (/^[!-~]{1,80}$/.test(text) ? text : quoted(text));

export class GoYamlReader {
  readonly #errors: string[] = [];

  /** @throws BAD_YAML with what was reported */
  finish(): void {
    if (this.#errors.length === 0) return;
    throw new TalosError('BAD_YAML', `yaml: construct errors: ${this.#errors.join('; ')}`);
  }

  /** Notes what is wrong at the node; its value is left out. */
  report(node: Node, what: string): undefined {
    this.#errors.push(`line ${node.line}: ${what}`);
    if (this.#errors.length >= maxErrors) this.finish();
  }

  #mismatch(node: Node, type: string): undefined {
    return this.report(node, `cannot construct ${node.tag} into ${type}`);
  }

  /** A string field takes numbers and booleans as they are written, but no date. */
  string(node: Node): string | undefined {
    if (node.kind !== 'scalar') return this.#mismatch(node, 'string');
    if (node.value === null) return undefined;
    if (typeof node.value === 'string') return node.value;
    return node.value instanceof Timestamp ? this.#mismatch(node, 'string') : node.text;
  }

  /** The text behind a type that reads itself from text. */
  text(node: Node, type: string): string | undefined {
    if (node.kind !== 'scalar') return this.#mismatch(node, `${type} (TextUnmarshaler)`);
    if (node.value === null) return undefined;
    return typeof node.value === 'string' ? node.value : node.text;
  }

  /** An integer of so many bits from 0 on; a floating-point number that is whole will do. */
  unsigned(node: Node, type: 'uint' | 'uint8'): bigint | undefined {
    const max = 2n ** (type === 'uint' ? 64n : 8n) - 1n;
    if (isNull(node)) return undefined;
    let value = node.kind === 'scalar' ? node.value : undefined;
    if (typeof value === 'number' && Number.isInteger(value)) value = BigInt(value);
    if (typeof value === 'bigint' && value >= 0n && value <= max) return value;
    return this.#mismatch(node, type);
  }

  /** Here, and only here, `yes`, `on` and the like are booleans, quoted or not. */
  boolean(node: Node): boolean | undefined {
    if (isNull(node)) return undefined;
    const value = node.kind === 'scalar' ? node.value : undefined;
    if (typeof value === 'boolean') return value;
    if (node.tag === '!!str' && typeof value === 'string') {
      if (['y', 'Y', 'yes', 'Yes', 'YES', 'on', 'On', 'ON'].includes(value)) return true;
      if (['n', 'N', 'no', 'No', 'NO', 'off', 'Off', 'OFF'].includes(value)) return false;
    }
    return this.#mismatch(node, 'bool');
  }

  /** Undefined for null; items that are left out shorten the list. */
  list<T>(node: Node, type: string, read: (item: Node) => T | undefined): T[] | undefined {
    if (isNull(node)) return undefined;
    if (node.kind !== 'sequence') return this.#mismatch(node, `[]${type}`);
    return node.items.map(read).filter((item) => item !== undefined);
  }

  /** A mapping with known fields: what their readers made of them. Undefined for null and where it is no mapping. */
  struct<F extends FieldReaders>(node: Node, type: string, fields: F): Fields<F> | undefined {
    if (isNull(node)) return undefined;
    if (node.kind !== 'mapping') return this.#mismatch(node, type);
    const readers = new Map(Object.entries(fields));
    const values = new Map<string, unknown>();
    for (const [keyNode, valueNode] of node.entries) {
      const key = this.string(keyNode);
      if (key === undefined) continue;
      const read = readers.get(key);
      if (read === undefined) this.report(keyNode, `field ${named(key)} not found in type ${type}`);
      else values.set(key, read(valueNode));
    }
    return Object.fromEntries(values) as Fields<F>;
  }

  /** A mapping whose keys are strings. Undefined for null. */
  stringMap(node: Node): YamlMap | undefined {
    if (isNull(node)) return undefined;
    if (node.kind !== 'mapping') return this.#mismatch(node, 'map[string]interface {}');
    const map = new YamlMap();
    for (const [keyNode, valueNode] of node.entries) {
      const key = this.string(keyNode);
      if (key !== undefined) map.set(key, this.#any(valueNode));
    }
    return map;
  }

  /** Any value, by what it looks like. */
  #any(node: Node): YamlValue {
    if (node.kind === 'scalar') return node.value;
    if (node.kind === 'sequence') return node.items.map((item) => this.#any(item));
    const map = new YamlMap();
    for (const [key, value] of node.entries) map.set(this.#key(key), this.#any(value));
    return map;
  }

  #key(node: ScalarNode): YamlKey {
    if (!(node.value instanceof Timestamp) && !Number.isNaN(node.value)) return node.value;
    throw new TalosError('BAD_YAML', `line ${node.line}: a date or .nan as a key; put it in quotes`);
  }
}

const isNull = (node: Node): boolean => node.kind === 'scalar' && node.value === null;
