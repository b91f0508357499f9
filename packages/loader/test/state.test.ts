/** Which bundle is taken after which: rollback, equivocation, freeze, fast-forward. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  type Accepted,
  checkEquivocation,
  checkOrigin,
  checkRollback,
  serializeDocument,
} from '@omni-airgap/format';
import { describe, expect, test } from 'vitest';
import type { LoadOptions } from '../src/options.ts';
import { addImage, bytesFor, loadInto, makeBundle, startDouble, temporary } from './support.ts';

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

describe('A16 a store that nobody here knows', () => {
  const second = { origin: 'b'.repeat(32), id: 'f'.repeat(64) };
  test('the first of all is said, and then its store is known', () => {
    expect(checkOrigin(number(1), [], undefined)).toContain(`the first from store ${'a'.repeat(32)} here`);
    expect(checkOrigin(number(2), [number(1)], undefined)).toBeUndefined();
  });
  test('is refused beside another one, unless it is named, and then it is said and known', () => {
    expect(() => checkOrigin(number(1, second), [number(4)], undefined)).toThrow(refusal);
    expect(() => checkOrigin(number(1, second), [number(4)], 'c'.repeat(32))).toThrow(refusal);
    expect(checkOrigin(number(1, second), [number(4)], second.origin)).toMatch(/--new-origin/);
    expect(checkOrigin(number(2, second), [number(4), number(1, second)], undefined)).toBeUndefined();
  });
  test('is not made known by what nobody vouched for', () => {
    const unsigned = number(1, { ...second, unsigned: true });
    expect(checkOrigin(number(1), [unsigned], undefined)).toContain('the first');
    expect(() => checkOrigin(number(1, second), [unsigned, number(4)], undefined)).toThrow(refusal);
    expect(() => checkOrigin(unsigned, [number(4)], undefined)).toThrow(refusal);
  });

  test('load refuses it before anything moves, accepts it once by its ID, and remembers it in registry and state', async () => {
    const one = await makeBundle((layout) =>
      addImage(layout, 'ghcr.io/acme/app:v1', bytesFor('1', 10)).then(),
    );
    const two = (sequence: number, seed: string) =>
      makeBundle((layout) => addImage(layout, 'ghcr.io/acme/tool:v1', bytesFor(seed, 10)).then(), {
        origin: 'b'.repeat(32),
        sequence,
      });
    const [first, next] = [await two(1, '2'), await two(2, '3')];
    const double = await startDouble();
    const notes: string[] = [];
    const progress = { expect() {}, advance() {}, note: (text: string) => void notes.push(text) };
    const state = await temporary();
    const load = (folder: string, more: Partial<LoadOptions> = {}) =>
      loadInto(double, [folder], { progress, state, overwriteTags: true, ...more });
    await load(one.folder);
    expect(notes.join('\n')).toContain(`the first from store ${one.document.origin} here`);
    const before = double.requests.length;
    await expect(load(first.folder)).rejects.toMatchObject({
      code: 'ROLLBACK',
      message: expect.stringContaining(`--new-origin ${'b'.repeat(32)}`),
    });
    expect(
      double.requests.slice(before).filter(({ method }) => method !== 'GET' && method !== 'HEAD'),
    ).toEqual([]);
    await expect(load(first.folder, { newOrigin: 'c'.repeat(32) })).rejects.toMatchObject({ code: 'USAGE' });
    await load(first.folder, { newOrigin: 'b'.repeat(32) });
    // The same command run again, the next bundle, another host, and a registry that was set back.
    await load(first.folder, { newOrigin: 'b'.repeat(32) });
    await load(next.folder);
    await load(next.folder, { state: await temporary() });
    const empty = await startDouble();
    await expect(loadInto(empty, [next.folder], { state: await temporary() })).resolves.toBeDefined();
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
