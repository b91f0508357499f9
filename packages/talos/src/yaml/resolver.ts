/** What a scalar is: its tag and its value. */
import { TalosError } from '../errors.ts';
import type { Node, ScalarNode } from './node.ts';
import { parseTimestamp } from './timestamp.ts';
import { type Scalar, type Timestamp, textOfBytes } from './value.ts';

export interface Resolved {
  readonly tag: string;
  readonly value: Scalar;
}

const words: ReadonlyMap<string, Resolved> = new Map<string, Resolved>([
  ...['true', 'True', 'TRUE'].map((word) => [word, { tag: '!!bool', value: true }] as const),
  ...['false', 'False', 'FALSE'].map((word) => [word, { tag: '!!bool', value: false }] as const),
  ...['', '~', 'null', 'Null', 'NULL'].map((word) => [word, { tag: '!!null', value: null }] as const),
  ...['.nan', '.NaN', '.NAN'].map((word) => [word, { tag: '!!float', value: Number.NaN }] as const),
  ...['.inf', '.Inf', '.INF', '+.inf', '+.Inf', '+.INF'].map(
    (word) => [word, { tag: '!!float', value: Number.POSITIVE_INFINITY }] as const,
  ),
  ...['-.inf', '-.Inf', '-.INF'].map(
    (word) => [word, { tag: '!!float', value: Number.NEGATIVE_INFINITY }] as const,
  ),
  ...['-0', '-0.0'].map((word) => [word, { tag: '!!float', value: -0 }] as const),
  ['<<', { tag: '!!merge', value: '<<' }],
]);

const floatPattern = /^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$/;
const integerPatterns: readonly (readonly [RegExp, string])[] = [
  [/^0[xX]([0-9a-fA-F]+)$/, '0x'],
  [/^0[oO]([0-7]+)$/, '0o'],
  [/^0[bB]([01]+)$/, '0b'],
  [/^0([0-7]*)$/, '0o'],
  [/^([1-9][0-9]*)$/, ''],
];
const maxInteger = 2n ** 64n - 1n;
const minSigned = -(2n ** 63n);
const maxSigned = 2n ** 63n - 1n;

/** Go's integer literals, a leading 0 for octal too; undefined outside of 64 bits. */
function parseInteger(text: string): bigint | undefined {
  const sign = /^[+-]/.test(text) ? text.charAt(0) : '';
  const digits = text.slice(sign.length);
  if (/^[1-9][0-9]{0,14}$/.test(digits)) return BigInt(text);
  for (const [pattern, prefix] of integerPatterns) {
    const match = pattern.exec(digits);
    if (match === null) continue;
    const magnitude = BigInt(`${prefix}${match[1] || '0'}`);
    const value = sign === '-' ? -magnitude : magnitude;
    // Only without a sign does the library try again with 64 unsigned bits.
    if (value < minSigned || value > (sign === '' ? maxInteger : maxSigned)) return undefined;
    return value;
  }
  return undefined;
}

/** Undefined when it is too large for 64 bits: then it is a string. */
function parseFloat64(text: string): number | undefined {
  if (!floatPattern.test(text)) return undefined;
  const value = Number(text);
  return Number.isFinite(value) ? value : undefined;
}

function resolveNumber(text: string, timestamps: boolean): Resolved | undefined {
  const timestamp: Timestamp | undefined = timestamps ? parseTimestamp(text) : undefined;
  if (timestamp !== undefined) return { tag: '!!timestamp', value: timestamp };
  const digits = text.replaceAll('_', '');
  const integer = digits.length <= 1000 ? parseInteger(digits) : undefined;
  if (integer !== undefined) return { tag: '!!int', value: integer };
  const float = parseFloat64(digits);
  return float === undefined ? undefined : { tag: '!!float', value: float };
}

/** What plain text stands for. @param timestamps false where a tag asks for something else */
export function resolvePlain(text: string, timestamps = true): Resolved {
  const word = words.get(text);
  if (word !== undefined) return word;
  let resolved: Resolved | undefined;
  if (/^[0-9+-]/.test(text)) resolved = resolveNumber(text, timestamps);
  else if (text.startsWith('.')) {
    // Only here may underscores stand nowhere but between digits.
    const float = /[^0-9]_|_(?![0-9])/.test(text) ? undefined : parseFloat64(text.replaceAll('_', ''));
    if (float !== undefined) resolved = { tag: '!!float', value: float };
  }
  return resolved ?? { tag: '!!str', value: text };
}

const resolvable = new Set(['!!bool', '!!int', '!!float', '!!null', '!!timestamp']);

/** The tag a node has once defaults are filled in. */
export function tagOf(node: Node): string {
  if (node.kind === 'alias') return tagOf(node.target);
  if (node.kind === 'sequence') return '!!seq';
  if (node.kind === 'mapping') return '!!map';
  if (node.tag === '') return node.plain ? resolvePlain(node.value).tag : '!!str';
  return node.tag === '!' ? '!!str' : node.tag;
}

/** @throws BAD_YAML when a tag says something that the text is not */
export function resolveScalar(node: ScalarNode): Resolved {
  const { tag, value, plain } = node;
  if (tag === '!!str' || ((tag === '' || tag === '!') && !plain)) return { tag: '!!str', value };
  if (tag === '') return resolvePlain(value);
  if (tag === '!!binary') return { tag, value: decodeBase64(node) };
  if (!resolvable.has(tag)) return { tag, value };
  const resolved = resolvePlain(value, tag === '!!timestamp');
  if (resolved.tag === tag) return resolved;
  if (tag === '!!float' && typeof resolved.value === 'bigint' && resolved.value <= maxSigned) {
    return { tag, value: Number(resolved.value) };
  }
  throw new TalosError('BAD_YAML', `line ${node.line}: cannot construct ${resolved.tag} as a ${tag}`);
}

/** Standard base64 with padding; line breaks within are skipped. */
function decodeBase64(node: ScalarNode): string {
  const text = node.value.replace(/[\r\n]/g, '');
  if (text.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(text)) {
    throw new TalosError('BAD_YAML', `line ${node.line}: !!binary value contains invalid base64 data`);
  }
  return textOfBytes(Buffer.from(text, 'base64'));
}
