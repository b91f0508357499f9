/** Which bundle is taken after which: rollback, equivocation, freeze, fast-forward. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { serializeDocument } from '@omni-airgap/format';
import { describe, expect, test } from 'vitest';
import { type Accepted, checkEquivocation, checkRollback } from '../src/state.ts';
import { addImage, bytesFor, loadInto, makeBundle, startDouble } from './support.ts';

const number = (sequence: number, more: Partial<Accepted> = {}): Accepted => ({
  origin: 'a'.repeat(32),
  sequence,
  id: `${sequence}`.padStart(64, '0'),
  unsigned: false,
  ...more,
});
const refusal = expect.objectContaining({ code: 'ROLLBACK' });

describe('T43 bundle.rollback', () => {
  test('the next, and the same again, are taken; an older one is not, unless that is wanted, and then it is said', () => {
    expect(checkRollback(number(5), [number(4), number(5)], false)).toBeUndefined();
    expect(() => checkRollback(number(4), [number(5), number(3)], false)).toThrow(refusal);
    expect(checkRollback(number(4), [number(5), number(3)], true)).toMatch(/number 4 .* number 5 .*taken/);
  });

  test('another one of the same number is not, whichever of the two is newer', () => {
    const other = number(5, { id: 'f'.repeat(64) });
    expect(() => checkEquivocation(other, [number(5)])).toThrow(refusal);
    expect(() => checkEquivocation(other, [other, number(9), number(5)])).toThrow(refusal);
    expect(() => checkEquivocation(number(5), [number(5), number(4), number(6)])).not.toThrow();
  });

  test('what nobody vouched for says nothing about what somebody did', () => {
    const unsigned = { unsigned: true, id: 'f'.repeat(64) };
    expect(checkRollback(number(4), [number(9, unsigned)], false)).toBeUndefined();
    expect(() => checkEquivocation(number(9), [number(9, unsigned)])).not.toThrow();
    expect(() => checkRollback(number(4, unsigned), [number(9)], false)).toThrow(refusal);
    expect(() => checkEquivocation(number(9, unsigned), [number(9)])).toThrow(refusal);
  });

  test('stores count on their own', () => {
    const other = { origin: 'b'.repeat(32), id: 'f'.repeat(64) };
    expect(checkRollback(number(4), [number(9, other)], false)).toBeUndefined();
    expect(() => checkEquivocation(number(9), [number(9, other)])).not.toThrow();
  });
});

describe('T45 bundle.fastforward', () => {
  test.each([
    ['on the first contact', []],
    ['after others', [number(7)]],
  ])('%s a number that is far ahead is refused', (_what, accepted) => {
    const newest = accepted.at(-1)?.sequence ?? 0;
    expect(checkRollback(number(newest + 10_000), accepted, false)).toBeUndefined();
    expect(() => checkRollback(number(newest + 10_001), accepted, false)).toThrow(refusal);
    expect(() => checkRollback(number(2 ** 53 - 1), accepted, false)).toThrow(refusal);
    expect(checkRollback(number(2 ** 53 - 1), accepted, true)).toMatch(/lock out every bundle in between/);
  });
});

test('T44 bundle.freeze: --max-age refuses an old bundle before the registry is asked, without it a note says so', async () => {
  const { folder, document } = await makeBundle((layout) =>
    addImage(layout, 'ghcr.io/acme/app:v1', bytesFor('app', 10)).then(() => {}),
  );
  const createdAt = new Date(Date.now() - 100 * 86_400_000).toISOString();
  await writeFile(join(folder, 'bundle.json'), serializeDocument({ ...document, createdAt }));
  const double = await startDouble();
  await expect(loadInto(double, [folder], { maxAgeDays: 30 })).rejects.toMatchObject({ code: 'EXPIRED' });
  expect(double.requests).toEqual([]);
  const notes: string[] = [];
  const progress = { expect() {}, advance() {}, note: (text: string) => void notes.push(text) };
  await loadInto(double, [folder], { progress });
  expect(notes.join()).toContain('100 days ago');
});
