/**
 * The order of a mapping's keys. It is no true order: keys with numbers of more than 64 bits can go in a circle;
 * there Go's map order decides, and even the library writes this or that.
 * Source: yaml/go-yaml 1c17b9c internal/libyaml/representer.go.
 */
import type { YamlKey } from './value.ts';

/** The place of a type among others: Go's reflect.Kind. */
function kindOrder(key: YamlKey): number {
  if (key === null) return 20;
  if (typeof key === 'boolean') return 1;
  if (typeof key === 'bigint') return key > 2n ** 63n - 1n ? 11 : 2;
  if (typeof key === 'number') return 14;
  return 24;
}

/** Letters and digits that came with Unicode 15.1 to 17: for Go up to 1.26, with 15.0, they are neither. */
const unknownToGo = new RegExp(
  [
    '^[',
    String.raw`\u{88f}\u{c5c}\u{cdc}\u{1c89}-\u{1c8a}\u{a7cb}-\u{a7cf}\u{a7d2}\u{a7d4}\u{a7da}-\u{a7dc}`,
    String.raw`\u{a7f1}\u{105c0}-\u{105f3}\u{10940}-\u{10959}\u{10d40}-\u{10d65}\u{10d6f}-\u{10d85}`,
    String.raw`\u{10ec2}-\u{10ec7}\u{11380}-\u{11389}\u{1138b}\u{1138e}\u{11390}-\u{113b5}\u{113b7}\u{113d1}`,
    String.raw`\u{113d3}\u{116d0}-\u{116e3}\u{11bc0}-\u{11be0}\u{11bf0}-\u{11bf9}\u{11db0}-\u{11ddb}`,
    String.raw`\u{11de0}-\u{11de9}\u{13460}-\u{143fa}\u{16100}-\u{1611d}\u{16130}-\u{16139}\u{16d40}-\u{16d6c}`,
    String.raw`\u{16d70}-\u{16d79}\u{16ea0}-\u{16eb8}\u{16ebb}-\u{16ed3}\u{16ff2}-\u{16ff3}\u{187f8}-\u{187ff}`,
    String.raw`\u{18cff}\u{18d09}-\u{18d1e}\u{18d80}-\u{18df2}\u{1ccf0}-\u{1ccf9}\u{1e5d0}-\u{1e5ed}`,
    String.raw`\u{1e5f0}-\u{1e5fa}\u{1e6c0}-\u{1e6de}\u{1e6e0}-\u{1e6e2}\u{1e6e4}-\u{1e6e5}\u{1e6e7}-\u{1e6ed}`,
    String.raw`\u{1e6f0}-\u{1e6f4}\u{1e6fe}-\u{1e6ff}\u{2b73a}-\u{2b73f}\u{2cea2}-\u{2cead}\u{2ebf0}-\u{2ee5d}`,
    String.raw`\u{323b0}-\u{33479}`,
    ']$',
  ].join(''),
  'u',
);
const isOf = (kind: RegExp, c: string | undefined): boolean =>
  c !== undefined && kind.test(c) && !unknownToGo.test(c);
const isDigit = (c: string | undefined): boolean => isOf(/^\p{Nd}$/u, c);
const isLetter = (c: string | undefined): boolean => isOf(/^\p{L}$/u, c);
const codeOf = (c: string | undefined): number => c?.codePointAt(0) ?? 0;

/** The number that begins at `start`, in 64 bits that wrap, continuing `seed`, and where it ends. */
function numberAt(text: readonly string[], start: number, seed: bigint): { value: bigint; end: number } {
  let value = seed;
  let end = start;
  for (; isDigit(text[end]); end++) value = BigInt.asIntN(64, value * 10n + BigInt(codeOf(text[end]) - 48));
  return { value, end };
}

/** Letters by code, numbers within the text by value, other characters before letters. */
function stringLess(left: string, right: string): boolean {
  const a = Array.from(left);
  const b = Array.from(right);
  let digits = false;
  for (let i = 0; i < a.length && i < b.length; i++) {
    if (a[i] === b[i]) {
      digits = isDigit(a[i]);
      continue;
    }
    const [aLetter, bLetter] = [isLetter(a[i]), isLetter(b[i])];
    if (aLetter && bLetter) return codeOf(a[i]) < codeOf(b[i]);
    if (aLetter || bLetter) return digits ? aLetter : bLetter;
    let seed = 0n;
    if (a[i] === '0' || b[i] === '0') {
      for (let j = i - 1; j >= 0 && isDigit(a[j]); j--) if (a[j] !== '0') seed = 1n;
    }
    const [aNumber, bNumber] = [numberAt(a, i, seed), numberAt(b, i, seed)];
    if (aNumber.value !== bNumber.value) return aNumber.value < bNumber.value;
    if (aNumber.end !== bNumber.end) return aNumber.end < bNumber.end;
    return codeOf(a[i]) < codeOf(b[i]);
  }
  return a.length < b.length;
}

function less(a: YamlKey, b: YamlKey): boolean {
  const numeric = (key: YamlKey): boolean => ['bigint', 'number', 'boolean'].includes(typeof key);
  if (numeric(a) && numeric(b)) {
    const [left, right] = [Number(a), Number(b)];
    if (left !== right) return left < right;
    if (kindOrder(a) !== kindOrder(b)) return kindOrder(a) < kindOrder(b);
    return typeof a === 'bigint' && typeof b === 'bigint' && a < b;
  }
  if (typeof a !== 'string' || typeof b !== 'string') return kindOrder(a) < kindOrder(b);
  return stringLess(a, b);
}

/** For sorting mapping keys. */
export function compareKeys(a: YamlKey, b: YamlKey): number {
  if (less(a, b)) return -1;
  return less(b, a) ? 1 : 0;
}
