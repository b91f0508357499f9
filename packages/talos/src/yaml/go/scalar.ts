/**
 * What plain text stands for, and how a scalar is written so that it stands for the same again.
 * Source: yaml/go-yaml 1c17b9c internal/libyaml/{resolver,representer}.go.
 */
import { bytesOfBinary, type Scalar, Timestamp } from './value.ts';

interface Resolved {
  readonly tag: '!!bool' | '!!null' | '!!float' | '!!int' | '!!timestamp' | '!!str';
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

function resolveNumber(text: string): Resolved | undefined {
  const timestamp = parseTimestamp(text);
  if (timestamp !== undefined) return { tag: '!!timestamp', value: timestamp };
  const digits = text.replaceAll('_', '');
  const integer = digits.length <= 1000 ? parseInteger(digits) : undefined;
  if (integer !== undefined) return { tag: '!!int', value: integer };
  const float = parseFloat64(digits);
  return float === undefined ? undefined : { tag: '!!float', value: float };
}

/** What plain text stands for. */
export function resolvePlain(text: string): Resolved {
  const word = words.get(text);
  if (word !== undefined) return word;
  let resolved: Resolved | undefined;
  if (/^[0-9+-]/.test(text)) resolved = resolveNumber(text);
  else if (text.startsWith('.')) {
    // Only here may underscores stand nowhere but between digits.
    const float = /[^0-9]_|_(?![0-9])/.test(text) ? undefined : parseFloat64(text.replaceAll('_', ''));
    if (float !== undefined) resolved = { tag: '!!float', value: float };
  }
  return resolved ?? { tag: '!!str', value: text };
}

const datePattern = /^(\d{4})-(\d{1,2})-(\d{1,2})/;
/** `T` or `t` and a zone, or spaces and none. A fraction may follow a comma too; digits behind the ninth are lost. */
const timePattern =
  /^(?:[Tt](\d{1,2}):(\d{1,2}):(\d{1,2})([.,]\d+)?(Z|[+-]\d\d:\d\d)| +(\d{1,2}):(\d{1,2}):(\d{1,2})([.,]\d+)?)$/;

const pad = (value: number, width = 2): string => String(value).padStart(width, '0');

function daysIn(year: number, month: number): number {
  if (month === 2) return (year % 4 === 0 && year % 100 !== 0) || year % 400 === 0 ? 29 : 28;
  return [4, 6, 9, 11].includes(month) ? 30 : 31;
}

/** As it is written back; undefined when it is out of range. Up to 24:60 is let through. */
function zoneOf(zone: string): string | undefined {
  if (zone === 'Z') return zone;
  const hours = Number(zone.slice(1, 3));
  const minutes = Number(zone.slice(4));
  if (hours > 24 || minutes > 60) return undefined;
  const total = hours * 60 + minutes;
  return total === 0 ? 'Z' : `${zone.charAt(0)}${pad(Math.floor(total / 60))}:${pad(total % 60)}`;
}

/** With all that Go's time.Parse lets pass for the four layouts the library tries; undefined for other text. */
function parseTimestamp(text: string): Timestamp | undefined {
  const date = datePattern.exec(text);
  if (date === null) return undefined;
  const [year, month, day] = [Number(date[1]), Number(date[2]), Number(date[3])];
  if (month < 1 || month > 12 || day < 1 || day > daysIn(year, month)) return undefined;
  const rest = text.slice(date[0].length);
  const dateText = `${pad(year, 4)}-${pad(month)}-${pad(day)}`;
  if (rest === '') return new Timestamp(`${dateText}T00:00:00Z`);
  const time = timePattern.exec(rest);
  if (time === null) return undefined;
  const [hour, minute, second] = [
    Number(time[1] ?? time[6]),
    Number(time[2] ?? time[7]),
    Number(time[3] ?? time[8]),
  ];
  const zone = zoneOf(time[5] ?? 'Z');
  if (hour > 23 || minute > 59 || second > 59 || zone === undefined) return undefined;
  const fraction = (time[4] ?? time[9] ?? '').slice(1, 10).replace(/0+$/, '');
  const seconds = `${pad(second)}${fraction === '' ? '' : `.${fraction}`}`;
  return new Timestamp(`${dateText}T${pad(hour)}:${pad(minute)}:${seconds}${zone}`);
}

export interface Representation {
  readonly text: string;
  /** Only where the text alone does not say it. */
  readonly tag?: '!!binary' | '!!timestamp';
  readonly style: 'plain' | 'single' | 'double' | 'literal';
}

/** What YAML 1.1 took for a number in base 60. */
const base60Pattern = /^[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?$/;
/** What YAML 1.1 took for a boolean. */
const oldBooleans = new Set([
  'y',
  'Y',
  'yes',
  'Yes',
  'YES',
  'on',
  'On',
  'ON',
  'n',
  'N',
  'no',
  'No',
  'NO',
  'off',
  'Off',
  'OFF',
]);
const base64LineLength = 70;

/** Text with a character that is not white space, by Unicode's White_Space. */
const hasInk = (text: string): boolean => /\P{White_Space}/u.test(text);

/** How releases of the library differ in writing the same value. */
export interface YamlDialect {
  /** Quotes of strings that YAML 1.1 took for a boolean, a number in base 60 or a merge key. */
  readonly oldWords: 'single' | 'double';
  /**
   * When a literal says its indentation: before a space, also before an empty line, or before the first line with
   * anything in it when that begins with a blank. `relative` is also the one that counts it from the parent.
   */
  readonly literalHint: 'space' | 'space-or-break' | 'relative';
  /** Text with spaces at the end of a line can be a literal; otherwise it is quoted. */
  readonly spacedLiterals: boolean;
}

/** Release v4.0.0-rc.6. */
export const defaultDialect: YamlDialect = {
  oldWords: 'single',
  literalHint: 'space',
  spacedLiterals: false,
};

function representString(text: string, { oldWords }: YamlDialect): Representation {
  const bytes = bytesOfBinary(text);
  if (bytes !== undefined) return representBinary(bytes);
  if (text.includes('\n')) return { text, style: hasInk(text) ? 'literal' : 'double' };
  if (base60Pattern.test(text) || oldBooleans.has(text) || text === '<<') return { text, style: oldWords };
  return { text, style: resolvePlain(text).tag === '!!str' ? 'plain' : 'double' };
}

function representBinary(bytes: Uint8Array): Representation {
  const base64 = Buffer.from(bytes).toString('base64');
  if (base64.length < base64LineLength) return { text: base64, tag: '!!binary', style: 'plain' };
  const lines = base64.match(new RegExp(`.{1,${base64LineLength}}`, 'g')) ?? [];
  return { text: lines.map((line) => `${line}\n`).join(''), tag: '!!binary', style: 'literal' };
}

/** The shortest digits that give the number back; with an exponent below 1e-4 and from 1e6 on. */
function formatFloat(value: number): string {
  if (Number.isNaN(value)) return '.nan';
  if (!Number.isFinite(value)) return value > 0 ? '.inf' : '-.inf';
  if (Object.is(value, -0)) return '-0';
  if (value === 0) return '0';
  const [mantissa = '', exponentText = '0'] = value.toExponential().split('e');
  const exponent = Number(exponentText);
  if (exponent >= 0 && exponent < 6) return String(value);
  if (exponent >= -4 && exponent < 0) {
    const digits = mantissa.replace(/[-.]/g, '');
    return `${value < 0 ? '-' : ''}0.${'0'.repeat(-exponent - 1)}${digits}`;
  }
  const sign = exponent < 0 ? '-' : '+';
  return `${mantissa}e${sign}${String(Math.abs(exponent)).padStart(2, '0')}`;
}

export function represent(value: Scalar, dialect: YamlDialect): Representation {
  if (typeof value === 'string') return representString(value, dialect);
  if (value instanceof Timestamp) {
    const plain = resolvePlain(value.text).tag === '!!timestamp';
    return { text: value.text, style: 'plain', ...(plain ? {} : { tag: '!!timestamp' }) };
  }
  return { text: typeof value === 'number' ? formatFloat(value) : String(value), style: 'plain' };
}
