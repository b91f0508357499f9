import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseReceiptDocument } from '@omni-airgap/format';
import { noProgress } from '@omni-airgap/oci';
import { digestFromHex, MediaType } from '@omni-airgap/oci/model';
import { expect, test } from 'vitest';
import { dryRun } from '../src/load.ts';
import {
  addBlob,
  addImage,
  addManifest,
  app,
  big,
  bytesFor,
  loadInto,
  makeBundle,
  settings,
  signed,
  startDouble,
  tool,
  two,
} from './support.ts';

test('content first, then names; a second load sends nothing', async () => {
  const { folder, document } = await makeBundle(two);
  const double = await startDouble();
  const first = await loadInto(double, [folder]);
  expect(first.receipt.images.map(({ target }) => target)).toEqual([
    `${double.host}/acme/app:v1`,
    `${double.host}/acme/tool:v1`,
  ]);
  const root = document.roots[0]?.descriptor.digest ?? '';
  expect(double.repository('acme/app').tags.get('v1')).toBe(root);
  const puts = double.requests.filter(({ method }) => method === 'PUT').map(({ path }) => path);
  const firstTag = puts.findIndex((path) => path.endsWith('/manifests/v1'));
  expect(puts.slice(firstTag).every((path) => path.endsWith('/manifests/v1'))).toBe(true);
  expect(double.openUploads).toBe(0);
  const before = double.requests.length;
  const second = await loadInto(double, [folder]);
  expect(second.registry).toMatchObject({ storedBlobs: 0, storedBytes: 0 });
  const writes = double.requests.slice(before).filter(({ method }) => method !== 'GET' && method !== 'HEAD');
  expect(writes).toEqual([]);
});

test('F32 a bundle older than one that was accepted is refused, by the registry’s record and by the host’s', async () => {
  const old = await makeBundle((layout) => addImage(layout, app, bytesFor('old', 10)).then(() => {}), {
    sequence: 3,
  });
  const next = await makeBundle(
    (layout) => addImage(layout, 'ghcr.io/acme/app:v2', bytesFor('new', 10)).then(() => {}),
    { sequence: 4 },
  );
  const double = await startDouble();
  const options = await settings(double, [next.folder]);
  await loadInto(double, [next.folder], { state: options.state });
  for (const where of [double, await startDouble()]) {
    const state =
      where === double ? {} : { state: options.state, registry: { host: double.host, prefix: '' } };
    await expect(loadInto(double, [old.folder], state)).rejects.toMatchObject({ code: 'ROLLBACK' });
  }
  // The registry forgot; the host did not.
  for (const tag of [...double.repository('omni-airgap/state').tags.keys()]) {
    expect(tag).toMatch(/^[a-f0-9]{32}\.4\.[a-f0-9]{64}\.unsigned$/);
    double.repository('omni-airgap/state').tags.delete(tag);
  }
  await expect(loadInto(double, [old.folder], { state: options.state })).rejects.toMatchObject({
    code: 'ROLLBACK',
  });
  const notes: string[] = [];
  const allowed = await loadInto(double, [old.folder], {
    state: options.state,
    allowRollback: true,
    progress: { ...noProgress, note: (text) => notes.push(text) },
  });
  expect(notes.join()).toMatch(/is number 3 of its store.*--allow-rollback/);
  expect(allowed.receipt.sequence).toBe(3);
  // The newer one stays the newest.
  await expect(loadInto(double, [next.folder], { state: options.state })).resolves.toBeDefined();
});

test('F32 T43 two bundles that say they are the same number are refused, also at once, also with --allow-rollback', async () => {
  const numbered = (name: string, sequence: number) =>
    makeBundle((layout) => addImage(layout, name, bytesFor(name, 10)).then(() => {}), { sequence });
  const one = await numbered(app, 3);
  const other = await numbered('ghcr.io/acme/app:v2', 3);
  const double = await startDouble();
  const refused = async (...folders: readonly string[]): Promise<void> => {
    const before = double.repository('acme/app').tags.size;
    for (const allowRollback of [false, true]) {
      await expect(loadInto(double, folders, { allowRollback })).rejects.toMatchObject({
        code: 'ROLLBACK',
        message: expect.stringContaining('number 3'),
      });
    }
    expect(double.repository('acme/app').tags.size).toBe(before);
    expect(double.requests.every(({ method }) => method === 'GET' || method === 'HEAD') || before > 0).toBe(
      true,
    );
  };
  await refused(one.folder, other.folder);
  await loadInto(double, [one.folder]);
  await refused(other.folder);
  // Beside a newer one too.
  const next = await numbered('ghcr.io/acme/app:v3', 4);
  await refused(other.folder, next.folder);
  await loadInto(double, [one.folder, next.folder]);
});

test('F34 the registry dies while a blob goes up: no tag, and the next run sends the rest only', async () => {
  const { folder } = await makeBundle(two);
  const double = await startDouble();
  // Two small configs come first, then one of the layers.
  double.fault({ match: { method: 'PUT', path: /acme\/.*\/blobs/, nth: 4 }, do: { status: 401 } });
  await expect(loadInto(double, [folder], { concurrency: 1 })).rejects.toMatchObject({ code: 'DENIED' });
  expect(double.requests.some(({ path, method }) => method === 'PUT' && path.endsWith('/v1'))).toBe(false);
  const report = await loadInto(double, [folder]);
  expect(report.registry?.presentBlobs).toBeGreaterThan(0);
  expect(report.registry?.storedBytes).toBeLessThan(big + 2000);
});

test('F40 subjects come before what speaks about them, tags of images last', async () => {
  const { folder, document } = await makeBundle(signed);
  for (const referrersApi of [true, false]) {
    const double = await startDouble({ referrersApi });
    await loadInto(double, [folder]);
    const puts = double.requests
      .filter(({ method, path }) => method === 'PUT' && path.includes('acme/app/manifests'))
      .map(({ path }) => path.slice(path.lastIndexOf('/') + 1));
    const digests = new Map(document.roots.map(({ name, descriptor }) => [name, descriptor.digest]));
    const subject = puts.indexOf(digests.get(app) ?? '');
    const referrers = [...digests]
      .filter(([name]) => name.includes('@'))
      .map(([, digest]) => puts.indexOf(digest));
    const sig = puts.findIndex((name) => name.endsWith('.sig'));
    expect(subject).toBeGreaterThanOrEqual(0);
    for (const referrer of referrers) expect(referrer).toBeGreaterThan(subject);
    expect(sig).toBeGreaterThan(subject);
    expect(puts.at(-1)).toBe('v1');
    // Which of the two referrers speaks about the other is known from the manifest.
    const order = puts.filter((name) => [...digests.values()].includes(name as never));
    expect(order).toHaveLength(new Set(order).size);
  }
});

test('F42 a tag that stands for something else is refused before anything moves, unless it may be replaced', async () => {
  const { folder, document } = await makeBundle(two);
  const double = await startDouble();
  double.repository('acme/app').addManifest(Buffer.from('{"schemaVersion":2}'), MediaType.ociManifest, 'v1');
  await expect(loadInto(double, [folder])).rejects.toMatchObject({
    code: 'CONFLICT',
    message: expect.stringContaining('acme/app:v1'),
  });
  expect(double.requests.some(({ method }) => method === 'PUT' || method === 'POST')).toBe(false);
  await loadInto(double, [folder], { overwriteTags: true });
  expect(double.repository('acme/app').tags.get('v1')).toBe(document.roots[0]?.descriptor.digest);
});

const said = (code: string, message: string): string => JSON.stringify({ errors: [{ code, message }] });

test('F42 a tag that the registry keeps immutable is explained', async () => {
  const { folder } = await makeBundle(two);
  const match = { method: 'PUT', path: /acme\/app\/manifests\/v1$/ };
  const body = said('PRECONDITION', "Failed to process request due to 'app:v1' configured as immutable.");
  const immutable = await startDouble({ script: [{ match, do: { status: 412, body } }] });
  const first = await loadInto(immutable, [folder]);
  expect(first.receipt.images.map(({ name }) => name)).toEqual([tool]);
  expect(first.missing).toMatchObject([{ name: app, why: 'refused' }]);
  expect(first.missing[0]?.message).toMatch(
    /the content is there, but the registry does not take the tag; let the tag immutability rules.*configured as immutable/,
  );
  const silent = await startDouble({ script: [{ match, do: { status: 412 } }] });
  const { missing } = await loadInto(silent, [folder]);
  expect(missing[0]?.message).toContain('does not take the tag');
  expect(missing[0]?.message).not.toContain('immutable');
});

test('C14 a project that gives out signed images only is told in its own words', async () => {
  const { folder } = await makeBundle(two);
  const path = /acme\/app\/manifests\/v1$/;
  const body = said('PROJECTPOLICYVIOLATION', 'The image is not signed by cosign.');
  const double = await startDouble({
    script: [
      // The survey finds nothing, and neither does the look just before the tag.
      { match: { method: 'HEAD', path }, do: { status: 404 }, times: 2 },
      { match: { method: 'HEAD', path }, do: { status: 412 } },
      { match: { method: 'GET', path }, do: { status: 412, body } },
    ],
  });
  const { missing } = await loadInto(double, [folder]);
  const error = missing[0]?.message;
  expect(error).toMatch(
    /PROJECTPOLICYVIOLATION: The image is not signed by cosign\.; the project gives out signed/,
  );
  expect(error).not.toMatch(/does not take the tag|immutable/);
  expect(double.repository('acme/app').tags.has('v1')).toBe(true);
});

test('S5 a registry that takes no HEAD is loaded all the same', async () => {
  const { folder } = await makeBundle(two);
  const double = await startDouble({
    script: [{ match: { method: 'HEAD', path: /./ }, do: { status: 405 } }],
  });
  const { receipt } = await loadInto(double, [folder], { verify: 'full' });
  expect(receipt.images).toHaveLength(2);
  const again = await loadInto(double, [folder]);
  expect(again.registry?.storedBlobs ?? 0).toBe(0);
});

test('F48 two loads at once into one registry both succeed', async () => {
  const { folder } = await makeBundle(signed);
  for (const referrersApi of [true, false]) {
    const double = await startDouble({ referrersApi });
    const reports = await Promise.all([loadInto(double, [folder]), loadInto(double, [folder])]);
    expect(reports.map(({ receipt }) => receipt.images.length)).toEqual([4, 4]);
    expect(double.openUploads).toBe(0);
  }
});

test('signatures that the site added stay, and loading again changes nothing', async () => {
  const { folder, document } = await makeBundle(signed);
  const double = await startDouble();
  await loadInto(double, [folder]);
  const repository = double.repository('acme/app');
  const tag = [...repository.tags.keys()].find((name) => name.endsWith('.sig')) ?? '';
  const ours = JSON.parse(Buffer.from(repository.manifest(tag)?.bytes ?? '').toString()) as {
    layers: object[];
  };
  const layer = repository.addBlob(Buffer.from('{"site":1}'));
  const annotations = { 'dev.cosignproject.cosign/signature': 'BBBB' };
  const resigned = { ...ours, layers: [...ours.layers, { ...layer, annotations }] };
  repository.addManifest(Buffer.from(JSON.stringify(resigned)), MediaType.ociManifest, tag);
  const before = repository.tags.get(tag);
  await loadInto(double, [folder]);
  expect(repository.tags.get(tag)).toBe(before);
  // Only the site's own: now both are there.
  const alone = { ...ours, layers: [{ ...layer, annotations }] };
  repository.addManifest(Buffer.from(JSON.stringify(alone)), MediaType.ociManifest, tag);
  await loadInto(double, [folder]);
  const united = JSON.parse(Buffer.from(repository.manifest(tag)?.bytes ?? '').toString()) as {
    layers: object[];
  };
  expect(united.layers).toEqual([{ ...layer, annotations }, ...ours.layers]);
  expect(document.roots).toHaveLength(4);
});

test('lists of versions are united', async () => {
  const list = (sequence: number, ...versions: string[]) =>
    makeBundle(
      async (layout) => {
        const config = await addBlob(layout, MediaType.empty, Buffer.from('{}'));
        const file = await addBlob(layout, 'application/json', Buffer.from(JSON.stringify(versions)));
        const annotations = { 'org.opencontainers.image.title': 'versions' };
        await addManifest(layout, 'factory.talos.dev/talos-catalog/versions:latest', MediaType.ociManifest, {
          artifactType: 'application/vnd.test.catalog',
          config,
          layers: [{ ...file, annotations }],
        });
      },
      { sequence },
    );
  const double = await startDouble();
  const [first, second] = [await list(1, 'v1.13.9', 'v1.12.4'), await list(2, 'v1.13.10', 'v1.12.4')];
  await loadInto(double, [first.folder]);
  await loadInto(double, [second.folder]);
  const repository = double.repository('talos-catalog/versions');
  const manifest = JSON.parse(Buffer.from(repository.manifest('latest')?.bytes ?? '').toString()) as {
    layers: { digest: string }[];
  };
  expect(manifest.layers).toHaveLength(1);
  const blob = repository.blobs.get(manifest.layers[0]?.digest ?? '');
  expect(Buffer.from(blob ?? '').toString()).toBe('["v1.12.4","v1.13.9","v1.13.10"]\n');
  const before = repository.tags.get('latest');
  await loadInto(double, [first.folder], { allowRollback: true });
  expect(repository.tags.get('latest')).toBe(before);
});

test('a dry run says what would go where and writes nothing', async () => {
  const { folder } = await makeBundle(two);
  const double = await startDouble();
  const plan = await dryRun(await settings(double, [folder]));
  expect(plan.images.map(({ target, action }) => `${action} ${target}`)).toEqual([
    `store ${double.host}/acme/app:v1`,
    `store ${double.host}/acme/tool:v1`,
  ]);
  expect(plan.bytes).toBeGreaterThan(2 * big);
  expect(double.requests.every(({ method }) => method === 'GET' || method === 'HEAD')).toBe(true);
  const report = await loadInto(double, [folder]);
  expect(report.registry?.storedBytes).toBe(plan.bytes);
  const again = await dryRun(await settings(double, [folder]));
  expect(again.bytes).toBe(0);
});

test('F38 --verify full finds a registry that gives other bytes than it took', async () => {
  const { folder } = await makeBundle(two);
  const double = await startDouble();
  const report = await loadInto(double, [folder], { verify: 'full' });
  expect(report.verifiedBytes).toBeGreaterThan(2 * big);
  double.fault({ match: { method: 'GET', path: /acme\/tool\/blobs/ }, do: { flipByteAt: 5 } });
  await expect(loadInto(double, [folder], { verify: 'full' })).rejects.toMatchObject({
    code: 'DIGEST_MISMATCH',
  });
});

test('what was verified outside is in the receipt', async () => {
  const { folder, document } = await makeBundle(two);
  const verified = { key: digestFromHex('1'.repeat(64)), signature: digestFromHex('2'.repeat(64)) };
  const [first, second] = document.roots;
  const roots = [{ ...first, signature: 'verified', verified }, second];
  await writeFile(join(folder, 'bundle.json'), JSON.stringify({ ...document, roots }));
  const path = join(folder, 'receipt.json');
  await loadInto(await startDouble(), [folder], { receipt: path });
  const receipt = parseReceiptDocument(await readFile(path));
  expect(receipt.images[0]).toMatchObject({ name: app, signature: 'verified', verified });
  expect(receipt.images[1]).not.toHaveProperty('signature');
  expect((await readFile(path, 'utf8')).split('\n')[0]).toContain(document.id);
});
