/** T44 freeze: a bundle that is old is said to be old, and refused where the operator set a limit. */
import { expect, test } from 'vitest';
import { ageInDays, checkBundleAge } from '../src/documents/bundle-age.ts';

const made = Date.parse('2026-03-01T12:00:00Z');
const bundle = { id: 'a'.repeat(64), createdAt: '2026-03-01T12:00:00Z' };
const day = 86_400_000;
const after = (days: number): number => made + days * day;

test.each([
  [0, 0],
  [0.99, 0],
  [1, 1],
  [-0.5, -1],
])('%d days after it was made its age is %d', (days, age) => {
  expect(ageInDays(bundle.createdAt, after(days))).toBe(age);
});

test('T44 without a limit an old one is warned about, a new one is not', () => {
  expect(checkBundleAge(bundle, undefined, after(89.9))).toBeUndefined();
  expect(checkBundleAge(bundle, undefined, after(90))).toMatch(/^bundle a{12} .* 90 days ago/);
});

test('T44 beyond the limit it is refused', () => {
  expect(checkBundleAge(bundle, 7, after(6.9))).toBeUndefined();
  expect(() => checkBundleAge(bundle, 7, after(7))).toThrow(
    expect.objectContaining({ code: 'EXPIRED', message: expect.stringContaining('--max-age allows 7') }),
  );
});

test('F58 from the future: the clock is named, and no limit is taken for kept', () => {
  expect(checkBundleAge(bundle, 7, after(-0.5))).toBeUndefined();
  expect(checkBundleAge(bundle, undefined, 0)).toContain('clock');
  expect(() => checkBundleAge(bundle, 7, 0)).toThrow(expect.objectContaining({ code: 'EXPIRED' }));
});
