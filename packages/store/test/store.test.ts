/** The store as the owner of its records: who may do what while others have it open, and what is written. */
import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type BundleDocument, serializeDocument } from '@omni-airgap/format';
import { digestFromHex } from '@omni-airgap/oci/model';
import { temporaryFolder } from '@omni-airgap/oci/testing';
import { describe, expect, test } from 'vitest';
import type { NewIssue } from '../src/issued-bundles.ts';
import type { LockedItem } from '../src/lock-document.ts';
import { Store, type StoreAccess } from '../src/store.ts';
import { issuedBundle } from './issued-bundle.ts';

const purpose = 'omni-airgap test';

async function emptyStore(): Promise<string> {
  const root = join(await temporaryFolder(), 'store');
  await Store.use(root, { access: 'shared', purpose, create: true }, async () => {});
  return root;
}

const open = (root: string, access: StoreAccess): Promise<Store> => Store.open(root, { access, purpose });

describe('who may have it open together', () => {
  const sharing: readonly StoreAccess[] = ['shared', 'read', 'look'];

  test.each(sharing.flatMap((one) => sharing.map((other) => [one, other] as const)))(
    '%s and %s',
    async (one, other) => {
      const root = await emptyStore();
      const first = await open(root, one);
      const second = await open(root, other);
      await expect(open(root, 'exclusive')).rejects.toMatchObject({ code: 'BUSY' });
      await first.close();
      await second.close();
      await (await open(root, 'exclusive')).close();
    },
  );

  test('exclusive and nobody', async () => {
    const root = await emptyStore();
    const alone = await open(root, 'exclusive');
    for (const other of [...sharing, 'exclusive'] as const)
      await expect(open(root, other)).rejects.toMatchObject({ code: 'BUSY' });
    await alone.close();
  });

  test('one that cannot be opened stays free', async () => {
    const root = await emptyStore();
    await writeFile(join(root, 'oci-layout'), '{"imageLayoutVersion":"9.0.0"}');
    for (let i = 0; i < 2; i++) {
      const opened = Store.open(root, { access: 'exclusive', purpose, create: true });
      await expect(opened).rejects.toMatchObject({ code: 'BAD_DOCUMENT' });
    }
  });
});

describe('what each way of opening allows', () => {
  test('content goes only from a store that is open exclusively', async () => {
    const root = await emptyStore();
    await Store.use(root, { access: 'shared', purpose }, async (store) => {
      const layout = await store.openLayout();
      await expect(store.collectGarbage()).rejects.toMatchObject({ code: 'INTERNAL' });
      await expect(store.bundles.consume('a'.repeat(64), [1], [], layout)).rejects.toMatchObject({
        code: 'INTERNAL',
      });
    });
    expect(await readdir(root)).not.toContain('bundles');
  });

  test.each(['read', 'look'] as const)('records do not change in one that is open to %s', async (access) => {
    const root = await emptyStore();
    await Store.use(root, { access, purpose }, async (store) => {
      const change = store.updateLockDocument(() => ({ items: [], missing: [] }), undefined);
      await expect(change).rejects.toMatchObject({ code: 'INTERNAL' });
    });
    expect(await readdir(root)).not.toContain('lock.json');
  });
});

/** A bundle like another one, under an id and a number of its own. */
function issueOf(document: BundleDocument, id: string): NewIssue {
  return {
    id,
    content: 'c'.repeat(64),
    isSame: () => true,
    describe: (number) => {
      const created = { ...document, ...number, id, files: [] };
      return { document: created, bytes: Buffer.from(serializeDocument(created)), files: [] };
    },
    signKey: undefined,
  };
}

describe('A1 sequence numbers', () => {
  test('of many that issue at once, each has its own; the same bundle has one', async () => {
    const { root, store, document } = await issuedBundle();
    await store.close();
    const ids = [...Array(12).keys()].map((i) => (i % 6).toString(16).repeat(64));
    const issued = await Promise.all(
      ids.map((id) =>
        Store.use(root, { access: 'shared', purpose }, ({ bundles }) => bundles.issue(issueOf(document, id))),
      ),
    );
    const numbers = new Map(issued.map(({ document: { id, sequence } }) => [id, sequence]));
    expect([...numbers.values()].sort()).toEqual([1, 2, 3, 4, 5, 6]);
    for (const one of issued) expect(one.document.sequence).toBe(numbers.get(one.document.id));
    expect(JSON.parse(await readFile(join(root, 'origin.json'), 'utf8'))).toMatchObject({ sequence: 6 });
  });

  test('a bundle that our own reader refuses gets none, and is not issued', async () => {
    const { root, store, document } = await issuedBundle();
    const id = 'e'.repeat(64);
    const bad = {
      ...issueOf(document, id),
      describe: () => ({ document, bytes: Buffer.from('{}'), files: [] }),
    };
    await expect(store.bundles.issue(bad)).rejects.toMatchObject({ code: 'BAD_DOCUMENT' });
    expect(await readdir(root)).not.toContain('origin.json');
    expect(await readdir(join(root, 'bundles'))).not.toContain(id);
  });

  test.each([
    '{"origin":"00112233445566778899aabbccddeeff","sequence":1.5}',
    '{"origin":"00112233445566778899aabbccddeeff","sequence":-1}',
    '{"origin":"no","sequence":1}',
    '{"origin":"00112233445566778899aabbccddeeff","sequence":1,"content":{"hash":"c","since":1}}',
    '',
  ])('an origin.json that nobody of us wrote stops it: %s', async (text) => {
    const { root, store, document } = await issuedBundle();
    await writeFile(join(root, 'origin.json'), text);
    const issue = store.bundles.issue(issueOf(document, 'd'.repeat(64)));
    await expect(issue).rejects.toMatchObject({ code: 'BAD_DOCUMENT' });
    expect(await readFile(join(root, 'origin.json'), 'utf8')).toBe(text);
  });
});

describe('lock.json', () => {
  const item = (name: string, hex: string): LockedItem => ({
    name,
    kind: 'image',
    descriptor: {
      mediaType: 'application/vnd.oci.image.index.v1+json',
      digest: digestFromHex(hex.repeat(64)),
      size: 10,
    },
    bytes: 10,
    source: 'https://ghcr.io',
    fetchedAt: '2026-01-01T00:00:00Z',
  });

  test('is changed by what it says at that moment, and keeps who fetched what has not changed', async () => {
    const root = await emptyStore();
    await Store.use(root, { access: 'shared', purpose }, async (store) => {
      await store.updateLockDocument(
        () => ({ items: [item('a', '1'), item('b', '2')], missing: [] }),
        'first',
      );
      const later = { ...item('a', '1'), fetchedAt: '2026-02-01T00:00:00Z' };
      await store.updateLockDocument((before) => {
        expect(before?.items.map(({ name }) => name)).toEqual(['a', 'b']);
        return { items: [item('b', '3'), later], missing: ['c'] };
      }, 'second');
      const { items, missing } = (await store.lockDocument()) ?? expect.fail('there is none');
      expect(items.map(({ name, fetchedAt, fetchedBy }) => [name, fetchedAt, fetchedBy])).toEqual([
        ['a', '2026-01-01T00:00:00Z', 'first'],
        ['b', '2026-01-01T00:00:00Z', 'second'],
      ]);
      expect(missing).toEqual(['c']);
      await expect(store.completeLockDocument()).rejects.toMatchObject({ code: 'INCOMPLETE' });
    });
  });

  test('that our own reader would refuse is not written', async () => {
    const root = await emptyStore();
    await Store.use(root, { access: 'shared', purpose }, async (store) => {
      await store.updateLockDocument(() => ({ items: [item('a', '1')], missing: [] }), undefined);
      const before = await readFile(join(root, 'lock.json'), 'utf8');
      const bad = { ...item('a', '1'), bytes: Number.NaN };
      const change = store.updateLockDocument(() => ({ items: [bad], missing: [] }), undefined);
      await expect(change).rejects.toMatchObject({ code: 'BAD_DOCUMENT' });
      expect(await readFile(join(root, 'lock.json'), 'utf8')).toBe(before);
    });
  });
});

test('files that killed processes were writing are removed by whoever writes next, and by gc', async () => {
  const { root, store, document } = await issuedBundle();
  const leftovers = [
    '.lock.json.0123456789abcdef.tmp',
    '.origin.json.0123456789abcdef.tmp',
    // As version 0.1 named them.
    '.4711-0123abcd.0123456789abcdef.tmp',
    join('bundles', document.id, '.bundle.json.0123456789abcdef.tmp'),
  ].map((name) => join(root, name));
  const there = async (): Promise<number> =>
    (await readdir(root, { recursive: true })).filter((name) => name.endsWith('.tmp')).length;
  for (const path of leftovers) await writeFile(path, '');
  await store.updateLockDocument(() => ({ items: [], missing: [] }), undefined);
  expect(await there()).toBe(3);
  await store.collectGarbage();
  expect(await there()).toBe(0);
});

test('a store that lost its lock files is locked as before', async () => {
  const root = await emptyStore();
  for (const name of await readdir(root)) if (name.endsWith('.lock')) await rm(join(root, name));
  const looking = await open(root, 'look');
  expect(looking.warning).toBeUndefined();
  await looking.close();
  expect(await readdir(root)).not.toContain('content.lock');
  const reading = await open(root, 'read');
  await expect(open(root, 'exclusive')).rejects.toMatchObject({ code: 'BUSY' });
  await reading.close();
});
