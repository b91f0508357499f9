/** How scalars are written: the text, with its tag and style. */
import { resolvePlain } from './resolver.ts';
import { bytesOfBinary, type Scalar, Timestamp } from './value.ts';

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

function representString(text: string): Representation {
  const bytes = bytesOfBinary(text);
  if (bytes !== undefined) return representBinary(bytes);
  if (text.includes('\n')) return { text, style: hasInk(text) ? 'literal' : 'double' };
  if (base60Pattern.test(text) || oldBooleans.has(text) || text === '<<') return { text, style: 'single' };
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

export function represent(value: Scalar): Representation {
  if (typeof value === 'string') return representString(value);
  if (value instanceof Timestamp) {
    const plain = resolvePlain(value.text).tag === '!!timestamp';
    return { text: value.text, style: 'plain', ...(plain ? {} : { tag: '!!timestamp' }) };
  }
  return { text: typeof value === 'number' ? formatFloat(value) : String(value), style: 'plain' };
}
