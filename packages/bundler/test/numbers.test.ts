/** Sequence numbers: which bundle is issued again as it was, and which gets a new number, so that a site takes it. */
import { readFile, rename, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { acceptedOf, type BundleDocument, checkRollback, parseBundleDocument } from '@omni-airgap/format';
import { noProgress } from '@omni-airgap/oci';
import { childrenOf, fetchManifest } from '@omni-airgap/oci/model';
import { Store } from '@omni-airgap/store';
import { describe, expect, test } from 'vitest';
import { type BundleOptions, type BundleReport, bundle } from '../src/index.ts';
import { filesOf, made, optionsFor, type TestStore } from './store.ts';

const extra = 'quay.io/new/app:v1';

interface Numbered {
  readonly folder: string;
  readonly store: TestStore;
  readonly notes: string[];
  /** Bundles the store, on a medium of that name. */
  onto(medium: string, more?: Partial<BundleOptions>): Promise<BundleReport>;
  documentOn(medium: string): Promise<BundleDocument>;
}

async function numbered(): Promise<Numbered> {
  const { folder, store } = await made();
  const notes: string[] = [];
  const progress = { ...noProgress, note: (text: string) => void notes.push(text) };
  return {
    folder,
    store,
    notes,
    onto: (medium, more = {}) => bundle(optionsFor(store, join(folder, medium), { progress, ...more })),
    documentOn: async (medium) => parseBundleDocument(await readFile(join(folder, medium, 'bundle.json'))),
  };
}

/** A store that has issued A as number 1 on the medium `a`, B as number 2 on `b`, and has the content of A again. */
async function wentBack(): Promise<Numbered> {
  const site = await numbered();
  await site.onto('a');
  await site.store.image(extra, [70]);
  await site.onto('b');
  await site.store.remove(extra);
  expect(site.notes).toEqual([]);
  return site;
}

/** As a site that has loaded the first of them judges the second. */
function judged(loaded: BundleDocument, next: BundleDocument): string | undefined {
  const unsigned = { mode: 'unsigned' } as const;
  return checkRollback(acceptedOf(next, unsigned), [acceptedOf(loaded, unsigned)], false);
}

describe('back to the content of an earlier bundle', () => {
  test('is a new bundle under the next number, which a site that has loaded the one in between takes', async () => {
    const { onto, documentOn, store } = await wentBack();
    const [a, b] = [await documentOn('a'), await documentOn('b')];
    expect(() => judged(b, a)).toThrow(/--allow-rollback/);
    expect(await onto('c')).toMatchObject({ id: a.id, sequence: 3, written: true });
    expect(judged(b, await documentOn('c'))).toBeUndefined();
    // And forward again.
    await store.image(extra, [70]);
    expect(await onto('d')).toMatchObject({ id: b.id, sequence: 4 });
    expect(judged(await documentOn('c'), await documentOn('d'))).toBeUndefined();
  });

  test('once more changes nothing, on the same medium and on others', async () => {
    const { folder, onto } = await wentBack();
    await onto('c');
    const before = await filesOf(join(folder, 'c'));
    expect(await onto('c')).toMatchObject({ sequence: 3, written: false });
    expect(await filesOf(join(folder, 'c'))).toEqual(before);
    expect(await onto('d')).toMatchObject({ sequence: 3, written: true });
    expect(await filesOf(join(folder, 'd'))).toEqual(before);
    const { id } = await onto('c');
    expect(await onto('e', { issued: id })).toMatchObject({ sequence: 3 });
    expect(await filesOf(join(folder, 'e'))).toEqual(before);
  });

  test('turns a medium of the old number into one of the new, without writing its volumes again, and says so', async () => {
    const { folder, onto, documentOn, notes } = await wentBack();
    const volume = join(folder, 'a', 'content.tar.001');
    const before = (await stat(volume)).ino;
    expect(await onto('a')).toMatchObject({ sequence: 3, written: true });
    expect(notes).toEqual([
      expect.stringMatching(/^bundle \w{12} was number 1 and is now .* number 3; media of number 1 /),
    ]);
    expect(await documentOn('a')).toMatchObject({ sequence: 3 });
    expect((await stat(volume)).ino).toBe(before);
    expect(await onto('a')).toMatchObject({ sequence: 3, written: false });
  });

  test('a medium of the old number is renumbered by the command that the note names', async () => {
    const { folder, onto, documentOn, notes } = await wentBack();
    const volume = join(folder, 'a', 'content.tar.001');
    const before = (await stat(volume)).ino;
    await onto('c');
    const [, id = ''] = /bundle --issued (\w{12}) --volumes RANGE --out MEDIUM /.exec(notes[0] ?? '') ?? [];
    expect(await onto('a', { issued: id, volumes: '1' })).toMatchObject({ sequence: 3, written: true });
    expect(await documentOn('a')).toEqual(await documentOn('c'));
    expect((await stat(volume)).ino).toBe(before);
  });

  test('gets the next number, too, when bundle --consume removed the content from the store', async () => {
    const { onto, store } = await numbered();
    const { id } = await onto('a', { consume: true });
    await store.image(extra, [70]);
    await expect(onto('b')).rejects.toMatchObject({ code: 'USAGE' });
    await onto('b', { since: [id] });
    await store.remove(extra);
    expect(await onto('a', { consume: true })).toMatchObject({
      sequence: 3,
      written: true,
      consumedBytes: 0,
    });
  });

  test('so is one that was interrupted after it was issued: the same command finishes that', async () => {
    const { onto, documentOn } = await wentBack();
    const stop = new AbortController();
    const progress = {
      ...noProgress,
      note: (text: string): void => {
        if (/ was number 1 /.test(text)) stop.abort();
      },
    };
    const options = { volumes: '0-1' };
    await expect(onto('c', { ...options, progress, signal: stop.signal })).rejects.toMatchObject({
      name: 'AbortError',
    });
    expect(await onto('c', options)).toMatchObject({ sequence: 3 });
    expect(await documentOn('c')).toMatchObject({ sequence: 3 });
  });

  test('so is one with the same names and other platforms of them', async () => {
    const { folder, onto, store } = await numbered();
    const name = 'ghcr.io/acme/app:v1';
    const root = await store.image(name, [41]);
    const { manifest } = await fetchManifest(store.layout, root);
    const arm64 = store.layout.pathOf(childrenOf(manifest).at(-1)?.digest ?? root.digest);
    const leaveOut = async (): Promise<void> => {
      await rename(arm64, join(folder, 'arm64'));
      await store.locked(name, 'image', root, ['linux/amd64']);
    };
    await leaveOut();
    const { id } = await onto('a');
    await rename(join(folder, 'arm64'), arm64);
    await store.locked(name, 'image', root);
    expect((await onto('b')).id).not.toBe(id);
    await leaveOut();
    expect(await onto('c')).toMatchObject({ id, sequence: 3 });
  });

  test('so is one after a bundle that was taken back: some of it may have been loaded', async () => {
    const { onto, store } = await numbered();
    await onto('a');
    await store.image(extra, [70]);
    const { id } = await onto('b', { volumes: '0-1' });
    await Store.use(store.root, { access: 'exclusive', purpose: 'test' }, (opened) =>
      opened.bundles.drop(id, '--drop-issued', false),
    );
    await store.remove(extra);
    expect(await onto('c')).toMatchObject({ sequence: 3 });
  });
});

describe('content that has not changed', () => {
  test('keeps its number, whatever else of it was issued: other volumes, increments for other sites', async () => {
    const { folder, onto, documentOn, notes } = await numbered();
    const { id } = await onto('a');
    await onto('large', { volumeSize: 500 * 1024 });
    await onto('site', { since: [join(folder, 'a')] });
    await onto('other', { since: [join(folder, 'large')] });
    const numbers = async (suffix: string): Promise<readonly number[]> => [
      (await onto(`a${suffix}`)).sequence,
      (await onto(`large${suffix}`, { volumeSize: 500 * 1024 })).sequence,
      (await onto(`site${suffix}`, { since: [id] })).sequence,
      (await onto(`other${suffix}`, { since: [join(folder, 'large')] })).sequence,
    ];
    expect(await numbers('2')).toEqual([1, 2, 3, 4]);
    expect(await documentOn('a2')).toEqual(await documentOn('a'));
    // A site that has loaded one of the others is told of by the note.
    expect(notes[0]).toMatch(
      /^bundle \w{12} is number 1 again, and the last one issued is number 4: .* needs load --allow-rollback/,
    );
    expect(notes).toHaveLength(3);
  });

  test('after a change, all of them are new', async () => {
    const { folder, onto, store } = await wentBack();
    const since = [join(folder, 'a')];
    expect(await onto('c', { since })).toMatchObject({ sequence: 3 });
    expect(await onto('d')).toMatchObject({ sequence: 4 });
    expect(await onto('e', { since })).toMatchObject({ sequence: 3 });
    await store.image(extra, [70]);
    expect(await onto('f')).toMatchObject({ sequence: 5 });
    await store.remove(extra);
    expect(await onto('g', { since })).toMatchObject({ sequence: 6 });
  });

  test('media of a bundle by its ID are those of its number, with a note where a later one was issued', async () => {
    const { onto, documentOn, notes } = await wentBack();
    const { id } = await documentOn('a');
    expect(await onto('c', { issued: id })).toMatchObject({ sequence: 1 });
    expect(await documentOn('c')).toEqual(await documentOn('a'));
    expect(notes).toEqual([expect.stringMatching(/number 1 again, and the last one issued is number 2/)]);
  });

  test('of a store that an earlier version used last, the last bundle keeps its number, and no other', async () => {
    const { onto, store } = await wentBack();
    const path = join(store.root, 'origin.json');
    const { origin, sequence } = JSON.parse(await readFile(path, 'utf8'));
    await writeFile(path, JSON.stringify({ origin, sequence }));
    await store.image(extra, [70]);
    expect(await onto('c')).toMatchObject({ sequence: 2 });
    await store.remove(extra);
    expect(await onto('d')).toMatchObject({ sequence: 3 });
    expect(await onto('e')).toMatchObject({ sequence: 3 });
  });
});
