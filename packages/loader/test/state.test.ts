/** Which bundle is taken after which: rollback, equivocation, freeze, fast-forward. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { serializeDocument } from '@omni-airgap/content';
import { describe, expect, test } from 'vitest';
import { type Accepted, checkRollback } from '../src/state.ts';
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
  test('the next, and the same again, are taken; an older one is not', () => {
    expect(() => checkRollback(number(5), [number(4), number(5)])).not.toThrow();
    expect(() => checkRollback(number(4), [number(5), number(3)])).toThrow(refusal);
  });

  test('another one of the same number is not', () => {
    expect(() => checkRollback(number(5, { id: 'f'.repeat(64) }), [number(5)])).toThrow(refusal);
  });

  test('what nobody vouched for says nothing about what somebody did', () => {
    expect(() => checkRollback(number(4), [number(9, { unsigned: true })])).not.toThrow();
    expect(() => checkRollback(number(4, { unsigned: true }), [number(9)])).toThrow(refusal);
  });

  test('stores count on their own', () => {
    expect(() => checkRollback(number(4), [number(9, { origin: 'b'.repeat(32) })])).not.toThrow();
  });
});

describe('T45 bundle.fastforward', () => {
  test.each([
    ['on the first contact', []],
    ['after others', [number(7)]],
  ])('%s a number that is far ahead is refused', (_what, accepted) => {
    const newest = accepted.at(-1)?.sequence ?? 0;
    expect(() => checkRollback(number(newest + 10_000), accepted)).not.toThrow();
    expect(() => checkRollback(number(newest + 10_001), accepted)).toThrow(refusal);
    expect(() => checkRollback(number(2 ** 53 - 1), accepted)).toThrow(refusal);
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
