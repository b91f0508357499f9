/** Names of earlier bundles that a new one withdraws: which they are, and for how long. */
import { writeFileSync } from 'node:fs';
import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { BundleStore, parseBundleDocument, verifyBundle } from '@omni-airgap/format';
import { noProgress } from '@omni-airgap/oci';
import { Store } from '@omni-airgap/store';
import { describe, expect, test } from 'vitest';
import { bundle, checkWithdraw, diff, inspectStore } from '../src/index.ts';
import { inStore, made, optionsFor, type TestStore } from './store.ts';

const pause = 'registry.k8s.io/pause:3.10';
const omni = 'ghcr.io/siderolabs/omni:v1';

async function documentOf(folder: string): Promise<ReturnType<typeof parseBundleDocument>> {
  return parseBundleDocument(await readFile(join(folder, 'bundle.json')));
}

/** A store that has issued a bundle, and lacks some of its names since then. */
async function without(...names: readonly string[]): Promise<{ store: TestStore; folder: string }> {
  const { folder, store } = await made();
  await bundle(optionsFor(store, join(folder, 'first')));
  for (const name of names) await store.remove(name);
  return { store, folder };
}

test('U-M9 whole names stand in bundle.json with schema 2, in the report and on the report page', async () => {
  const { store, folder } = await without(pause);
  const out = join(folder, 'second');
  const report = await bundle(optionsFor(store, out, { withdraw: ['registry.k8s.io/*'] }));
  expect(report.withdraws).toEqual([pause]);
  expect(await documentOf(out)).toMatchObject({ schema: 2, sequence: 2, withdraws: [pause] });
  expect(await documentOf(join(folder, 'first'))).toMatchObject({ schema: 1 });
  expect(await readFile(join(out, 'report.html'), 'utf8')).toContain('Withdrawn names');
  expect(await verifyBundle(await BundleStore.open([out], { mode: 'any' }))).toMatchObject({ damages: [] });
  // The same command again has nothing to do.
  const again = await bundle(optionsFor(store, out, { withdraw: ['registry.k8s.io/*'] }));
  expect(again).toMatchObject({ id: report.id, sequence: 2, written: false });
});

test('without a change of the content, it is another bundle all the same, with the next number', async () => {
  const { store, folder } = await without(pause);
  const second = await bundle(optionsFor(store, join(folder, 'second')));
  const third = await bundle(optionsFor(store, join(folder, 'third'), { withdraw: [pause] }));
  expect(third).toMatchObject({ id: second.id, sequence: 3, withdraws: [pause] });
});

test('an image is withdrawn with its signature, but not with one that another tag of it needs', async () => {
  const { store, folder } = await made();
  const image = await store.image('ghcr.io/siderolabs/omni:v1', [1, 2, 3]);
  await store.locked('ghcr.io/siderolabs/omni:latest', 'image', image);
  const signature = `ghcr.io/siderolabs/omni:sha256-${image.digest.slice(7)}.sig`;
  await bundle(optionsFor(store, join(folder, 'first')));
  for (const name of [omni, 'ghcr.io/siderolabs/omni:latest', signature]) await store.remove(name);
  const one = await bundle(optionsFor(store, join(folder, 'one'), { withdraw: [omni] }));
  expect(one.withdraws).toEqual([omni]);
  const both = await bundle(optionsFor(store, join(folder, 'both'), { withdraw: ['*omni:latest'] }));
  expect(both.withdraws).toEqual(['ghcr.io/siderolabs/omni:latest', signature, omni].sort());
});

test('a referrer that goes by its digest is withdrawn with its image, and what is about that referrer', async () => {
  const { store, folder } = await made();
  const image = await store.image('ghcr.io/acme/app:v1', [31]);
  const sbom = await store.referrer('ghcr.io/acme/app', image);
  const about = await store.referrer('ghcr.io/acme/app', sbom);
  await bundle(optionsFor(store, join(folder, 'first')));
  const names = ['ghcr.io/acme/app:v1', ...[sbom, about].map(({ digest }) => `ghcr.io/acme/app@${digest}`)];
  for (const name of names) await store.remove(name);
  const { withdraws } = await bundle(
    optionsFor(store, join(folder, 'second'), { withdraw: ['*acme/app:v1'] }),
  );
  expect(withdraws).toEqual(names.sort());
});

test('so is one that is about a platform of the image, unless another image has that platform', async () => {
  const { store, folder } = await made();
  const repository = 'ghcr.io/acme/app';
  const { inner } = await store.sparseImage(`${repository}:v1`, 41);
  const about = await store.referrer(repository, inner);
  await bundle(optionsFor(store, join(folder, 'first')));
  for (const name of [`${repository}:v1`, `${repository}@${about.digest}`]) await store.remove(name);
  await store.locked(`${repository}:v3`, 'image', inner, ['linux/amd64']);
  const withdraw = [`${repository}:v1`];
  expect((await bundle(optionsFor(store, join(folder, 'second'), { withdraw }))).withdraws).toEqual(withdraw);
  await store.remove(`${repository}:v3`);
  const both = optionsFor(store, join(folder, 'third'), { withdraw: [`${repository}:v3`] });
  expect((await bundle(both)).withdraws).toEqual([
    `${repository}:v1`,
    `${repository}:v3`,
    `${repository}@${about.digest}`,
  ]);
});

test('later bundles withdraw it too, increments as well, until one carries the name again', async () => {
  const { store, folder } = await without(pause, omni);
  await bundle(optionsFor(store, join(folder, 'second'), { withdraw: [pause] }));
  await store.image('quay.io/new/app:v1', [77]);
  const third = await bundle(optionsFor(store, join(folder, 'third'), { since: [join(folder, 'second')] }));
  expect(third.withdraws).toEqual([pause]);
  await store.image('registry.k8s.io/pause:3.10', [5]);
  const fourth = await bundle(optionsFor(store, join(folder, 'fourth'), { withdraw: [omni] }));
  expect(fourth.withdraws).toEqual([omni]);
});

test('README.txt and the report page say what falls away, and that older programs refuse the bundle', async () => {
  const { store, folder } = await without(pause);
  const out = join(folder, 'second');
  await bundle(optionsFor(store, out, { withdraw: [pause] }));
  const text = (await readFile(join(out, 'README.txt'), 'utf8')).replaceAll('\r\n', '\n');
  expect(text).toMatch(/\nWITHDRAWN: 1 name of earlier bundles must no longer be used;.*\n/);
  expect(text).toContain('update omni-airgap inside');
  expect(Math.max(...text.split('\n').map((line) => line.length))).toBeLessThanOrEqual(100);
  expect(await readFile(join(out, 'report.html'), 'utf8')).toContain('update the program inside first');
  expect(await readFile(join(folder, 'first', 'README.txt'), 'utf8')).not.toContain('WITHDRAWN');
});

test('diff lists names that the later side withdraws; inspect of the store, those that the next bundle repeats', async () => {
  const { store, folder } = await without(pause);
  const [first, second] = [join(folder, 'first'), join(folder, 'second')];
  await bundle(optionsFor(store, second, { withdraw: [pause] }));
  expect(await diff(first, second)).toMatchObject({ removed: [pause], withdrawn: [pause] });
  expect(await diff(first, store.root)).toMatchObject({ withdrawn: [pause] });
  expect(await diff(second, store.root)).toMatchObject({ withdrawn: [] });
  expect(await diff(second, first)).toMatchObject({ withdrawn: [] });
  expect((await inspectStore(store.root)).withdraws).toEqual([pause]);
});

test('gc keeps what withdrawals go by: the names of issued bundles, and what referrers are about', async () => {
  const { store, folder } = await made();
  const image = await store.image('ghcr.io/acme/app:v1', [31]);
  const sbom = await store.referrer('ghcr.io/acme/app', image);
  await bundle(optionsFor(store, join(folder, 'first')));
  const names = ['ghcr.io/acme/app:v1', `ghcr.io/acme/app@${sbom.digest}`];
  for (const name of names) await store.remove(name);
  const swept = await Store.use(store.root, { access: 'exclusive', purpose: 'test' }, (opened) =>
    opened.collectGarbage(),
  );
  // Layer and configurations; the manifests stay.
  expect(swept.blobs).toBeGreaterThan(2);
  const { withdraws } = await bundle(
    optionsFor(store, join(folder, 'second'), { withdraw: ['*acme/app:v1'] }),
  );
  expect(withdraws).toEqual(names);
});

test('gc --drop-issued forgets the bundle, not what it withdrew: the next one withdraws that too, until it lists the name', async () => {
  const { store, folder } = await without(pause);
  const withdraw = [pause];
  const dropped = await bundle(
    optionsFor(store, join(folder, 'second'), { withdraw, volumes: '0', volumeSize: 300 * 1024 }),
  );
  const swept = await Store.use(store.root, { access: 'exclusive', purpose: 'test' }, (opened) =>
    opened.collectGarbage({ dropIssued: [dropped.id] }),
  );
  expect(swept.dropped).toEqual([dropped.id]);
  expect((await inspectStore(store.root)).withdraws).toEqual([pause]);
  expect(await bundle(optionsFor(store, join(folder, 'third')))).toMatchObject({
    sequence: 3,
    withdraws: [pause],
  });
  await store.image(pause, [5]);
  expect((await bundle(optionsFor(store, join(folder, 'fourth')))).withdraws).toEqual([]);
});

test('a name that was listed again is withdrawn by a new bundle, though an earlier one has the same content', async () => {
  const { store, folder } = await without(pause);
  const withdraw = [pause];
  const second = await bundle(optionsFor(store, join(folder, 'second'), { withdraw }));
  await store.image(pause, [5]);
  expect((await bundle(optionsFor(store, join(folder, 'third')))).withdraws).toEqual([]);
  await store.remove(pause);
  const fourth = optionsFor(store, join(folder, 'fourth'), { withdraw });
  for (const written of [true, false])
    expect(await bundle(fourth)).toMatchObject({ id: second.id, sequence: 4, withdraws: [pause], written });
});

describe('a damaged bundle.json of an issued bundle', () => {
  test('stops --withdraw only, which names it and what to do; withdrawals are repeated without it', async () => {
    const { store, folder } = await without(pause, omni);
    await bundle(optionsFor(store, join(folder, 'second'), { withdraw: [pause] }));
    const { id } = await documentOf(join(folder, 'first'));
    const path = join(store.root, 'bundles', id, 'bundle.json');
    const whole = await readFile(path);
    await writeFile(path, whole.subarray(0, 500));
    await store.image('quay.io/new/app:v1', [77]);
    const third = await bundle(optionsFor(store, join(folder, 'third')));
    expect(third.withdraws).toEqual([pause]);
    const fourth = optionsFor(store, join(folder, 'fourth'), { withdraw: [omni] });
    await expect(bundle(fourth)).rejects.toMatchObject({
      code: 'BAD_DOCUMENT',
      message: expect.stringContaining(path),
    });
    await expect(bundle(fourth)).rejects.toThrow(/copy bundle\.json from a medium of this bundle$/);
    await writeFile(path, whole);
    expect((await bundle(fourth)).withdraws).toEqual([omni, pause]);
  });

  test('so does a damaged record of what the last bundle withdraws, for every bundle', async () => {
    const { store, folder } = await without(pause);
    await bundle(optionsFor(store, join(folder, 'second'), { withdraw: [pause] }));
    const path = join(store.root, 'bundles', 'withdraws.json');
    await writeFile(path, '{}');
    await expect(bundle(optionsFor(store, join(folder, 'third')))).rejects.toMatchObject({
      code: 'BAD_DOCUMENT',
      message: expect.stringMatching(/withdraws\.json: .*take the list `withdraws` from bundle\.json/),
    });
    expect(await readdir(folder)).not.toContain('third');
  });
});

test('a bundle that knew nothing of a withdrawal made meanwhile is not issued', async () => {
  const { store, folder } = await without(pause);
  await bundle(optionsFor(store, join(folder, 'second'), { withdraw: [pause] }));
  const path = join(store.root, 'bundles', 'withdraws.json');
  const record = await readFile(path);
  await rm(path);
  await store.image('quay.io/new/app:v1', [77]);
  const progress = { ...noProgress, expect: () => void writeFileSync(path, record) };
  const third = optionsFor(store, join(folder, 'third'));
  await expect(bundle({ ...third, progress })).rejects.toMatchObject({
    code: 'BUSY',
    message: expect.stringContaining(`has withdrawn ${pause}`),
  });
  expect(await bundle(third)).toMatchObject({ sequence: 3, withdraws: [pause] });
});

test('a pattern that no issued bundle can match is found before a fetch', async () => {
  const { store } = await without(pause);
  const refused = { code: 'USAGE', message: expect.stringContaining('matches no name of the bundles') };
  await inStore(store.root, async (opened) => {
    await checkWithdraw(opened, ['*pause*', omni]);
    await expect(checkWithdraw(opened, ['*pause*', '*omni:v9'])).rejects.toMatchObject(refused);
  });
  await expect(checkWithdraw(undefined, [pause])).rejects.toMatchObject(refused);
  await checkWithdraw(undefined, []);
});

describe('refused before anything is written', () => {
  test.each([
    ['a pattern that matches nothing', 'ghcr.io/siderolabs/omni:v9', 'matches no name of the bundles'],
    ['a name that is carried', omni, `this bundle would carry ${omni}; remove it from mirror.yaml`],
    ['a pattern that matches more than what is gone', '*', 'this bundle would carry'],
  ])('%s', async (_what, pattern, message) => {
    const { store, folder } = await without(pause);
    const out = join(folder, 'second');
    await expect(bundle(optionsFor(store, out, { withdraw: [pattern] }))).rejects.toMatchObject({
      code: 'USAGE',
      message: expect.stringContaining(message),
    });
    await expect(readFile(join(out, 'bundle.json'))).rejects.toMatchObject({ code: 'ENOENT' });
  });
});
