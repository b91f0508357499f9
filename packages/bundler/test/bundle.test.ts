/** What a bundle says of itself: documents, signatures, secrets, and the store that issued it. */
import { execFileSync } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { existsSync } from 'node:fs';
import { chmod, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { BundleStore, parseBundleDocument, verifyBundle } from '@omni-airgap/format';
import { parseSite } from '@omni-airgap/talos';
import { describe, expect, test } from 'vitest';
import {
  bundle,
  inspectBundle,
  inspectStore,
  keygen,
  parseVolumeSize,
  signBundle,
  verifyStore,
} from '../src/index.ts';
import { mediaSchematic, optionsFor, sampleStore, type TestStore, temporaryFolder } from './store.ts';

const any = { mode: 'any' } as const;

async function made(): Promise<{ folder: string; store: TestStore; out: string }> {
  const folder = await temporaryFolder();
  return { folder, store: await sampleStore(join(folder, 'store')), out: join(folder, 'out') };
}

const newKey = () => generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
const documentOf = async (out: string) => parseBundleDocument(await readFile(join(out, 'bundle.json')));

describe('bundle.json', () => {
  test('says what each name is, where it came from, and whether signatures go along', async () => {
    const { store, out } = await made();
    await bundle(optionsFor(store, out, { by: 'ann@packer' }));
    const { roots, createdBy, createdAt, tool, secrets, base, relies, changes } = await documentOf(out);
    expect({ createdBy, createdAt, tool }).toEqual({
      createdBy: 'ann@packer',
      createdAt: '2026-01-01T00:00:00.000Z',
      tool: 'omni-airgap test',
    });
    const of = (name: string) => roots.find((root) => root.name === name);
    expect(of('ghcr.io/siderolabs/omni:v1')).toMatchObject({
      kind: 'image',
      signature: 'carried',
      source: 'https://ghcr.io',
    });
    expect(of('ghcr.io/dexidp/dex:v2')).toMatchObject({ kind: 'image', signature: 'none' });
    expect(of(`factory.talos.dev/talos-media/${mediaSchematic}:v1.13.9`)).toMatchObject({ kind: 'media' });
    expect(secrets).toEqual({ policy: 'refused', schematics: 1, found: [] });
    expect([base, relies, changes]).toEqual([undefined, undefined, undefined]);
  });

  test('what fetch verified is said, with the key', async () => {
    const { store, out } = await made();
    const lock = JSON.parse(await readFile(join(store.root, 'lock.json'), 'utf8'));
    const verified = { key: `sha256:${'a'.repeat(64)}`, signature: `sha256:${'b'.repeat(64)}` };
    for (const item of lock.items) if (item.name === 'ghcr.io/siderolabs/omni:v1') item.verified = verified;
    await writeFile(join(store.root, 'lock.json'), JSON.stringify(lock));
    await bundle(optionsFor(store, out));
    const { roots } = await documentOf(out);
    expect(roots.find((root) => root.name === 'ghcr.io/siderolabs/omni:v1')).toMatchObject({
      signature: 'verified',
      verified,
    });
    expect(await readFile(join(out, 'report.html'), 'utf8')).toContain(verified.key);
  });

  test('has a line for each entry, and the same content gives the same document', async () => {
    const { store, folder, out } = await made();
    await bundle(optionsFor(store, out));
    await bundle(optionsFor(store, join(folder, 'again')));
    const text = await readFile(join(out, 'bundle.json'), 'utf8');
    expect(await readFile(join(folder, 'again', 'bundle.json'), 'utf8')).toBe(text);
    const { blobs } = await documentOf(out);
    const lines = text.split('\n').filter((line) => line.startsWith('    {"digest":'));
    expect(lines).toHaveLength(blobs.length);
  });

  test('each index of which platforms were left out is listed, also one within another; nothing is missing', async () => {
    const { store, out } = await made();
    const { outer, inner } = await store.sparseImage('quay.io/acme/app:v1', 40);
    await bundle(optionsFor(store, out));
    expect((await documentOf(out)).sparse?.map(({ digest }) => digest)).toEqual([outer.digest, inner.digest]);
    const check = await verifyBundle(await BundleStore.open([out], any));
    expect(check).toMatchObject({ damages: [], unusable: [] });
  });

  test.each([['linux/arm64'], ['linux/arm64/v8'], ['linux/aarch64']])(
    'P2 a child that was wanted and was lost from the store is no platform that was left out: %s',
    async (platform) => {
      const { store, out } = await made();
      await store.sparseImage('quay.io/acme/app:v1', 40, ['linux/amd64', platform]);
      await expect(bundle(optionsFor(store, out))).rejects.toMatchObject({ code: 'MISSING_CONTENT' });
    },
  );

  test('P2 the report names platforms that were wanted and that the image does not have', async () => {
    const { store, out } = await made();
    await store.sparseImage('quay.io/acme/app:v1', 40, ['linux/amd64'], ['linux/s390x', 'linux/<b>']);
    await bundle(optionsFor(store, out));
    const page = await readFile(join(out, 'report.html'), 'utf8');
    expect(page).toContain('missing upstream: linux/s390x, linux/&lt;b&gt;');
    expect(page.match(/missing upstream/g)).toHaveLength(1);
  });

  test('U-M3, P8, P15 what is known against the set inside is in the report and on the page, and --strict refuses it', async () => {
    const { store, folder, out } = await made();
    await store.image('ghcr.io/siderolabs/omni:v1.10.4', [81]);
    await store.image('a.example.com/c/plain:v1', [82]);
    await store.image('b.example.com/c/plain:v1', [83]);
    const { inside } = await bundle(optionsFor(store, out));
    const collision = 'a.example.com/c/plain:v1 and b.example.com/c/plain:v1';
    expect(inside.map(({ level }) => level)).toEqual(['warning', 'confirm', 'confirm', 'confirm']);
    expect(inside[0]?.message).toContain(collision);
    const page = await readFile(join(out, 'report.html'), 'utf8');
    const rows = new Map(page.split('<tr><th scope="row">').map((row) => [row.split('<')[0], row]));
    expect(rows.get('Warnings')).toContain(collision);
    expect(rows.get('To confirm for the site')).toMatch(/needs an Image Factory.*over HTTPS/s);

    const strict = optionsFor(store, join(folder, 'strict'), { strict: true });
    await expect(bundle(strict)).rejects.toMatchObject({
      code: 'CONFIG',
      message: expect.stringContaining(collision),
    });
    const site = parseSite('registry: http://registry.site:5000', 'site.yaml');
    await expect(bundle(optionsFor(store, join(folder, 'site'), { site }))).rejects.toMatchObject({
      code: 'CONFIG',
      message: expect.stringContaining('site.yaml:1:11: registry http://registry.site:5000'),
    });
    expect(existsSync(join(folder, 'strict')) || existsSync(join(folder, 'site'))).toBe(false);
  });

  test('the sequence number is counted for each issue, never twice', async () => {
    const { store, folder, out } = await made();
    expect((await bundle(optionsFor(store, out))).sequence).toBe(1);
    await store.image('quay.io/new/app:v1', [70]);
    expect((await bundle(optionsFor(store, join(folder, 'b')))).sequence).toBe(2);
    expect((await bundle(optionsFor(store, join(folder, 'c'), { volumeSize: 500 * 1024 }))).sequence).toBe(3);
    expect((await bundle(optionsFor(store, join(folder, 'd')))).sequence).toBe(2);
  });

  test('an increment that carries the same on another base is another bundle, with an id of its own', async () => {
    const { store, folder, out } = await made();
    await bundle(optionsFor(store, out));
    await bundle(optionsFor(store, join(folder, 'other'), { volumeSize: 500 * 1024 }));
    const one = await bundle(optionsFor(store, join(folder, 'one'), { since: [out] }));
    const two = await bundle(optionsFor(store, join(folder, 'two'), { since: [join(folder, 'other')] }));
    expect(two.id).not.toBe(one.id);
    expect(two.blobs).toBe(one.blobs);
    expect([one.sequence, two.sequence]).toEqual([3, 4]);
    expect((await documentOf(join(folder, 'two'))).base).not.toEqual(
      (await documentOf(join(folder, 'one'))).base,
    );
  });
});

describe('signing', () => {
  test('without a key there is no signature, and none of before is left', async () => {
    const { store, folder, out } = await made();
    const { privateKey, publicKey } = newKey();
    expect(await bundle(optionsFor(store, out))).toMatchObject({ signed: false });
    await expect(BundleStore.open([out], { mode: 'signed', keys: [publicKey] })).rejects.toMatchObject({
      code: 'UNSIGNED',
    });
    // The same command with a key signs what is there.
    expect(await bundle(optionsFor(store, out, { signKey: privateKey }))).toMatchObject({
      signed: true,
      written: false,
    });
    const opened = await BundleStore.open([out], { mode: 'signed', keys: [publicKey] });
    expect(opened.signer.mode).toBe('signed');
    // Another base makes another document for the same volumes: the old signature must not lie beside it.
    await bundle(optionsFor(store, join(folder, 'one'), { since: [out], signKey: privateKey }));
    await bundle(optionsFor(store, join(folder, 'base2'), { volumeSize: 500 * 1024 }));
    const two = await bundle(optionsFor(store, join(folder, 'two'), { since: [join(folder, 'base2')] }));
    expect(two.signed).toBe(false);
    // Nor the signature of the bundle.json that the medium had.
    const medium = join(folder, 'two');
    await signBundle([medium], { mode: 'key', key: privateKey });
    await rm(join(store.root, 'bundles'), { recursive: true });
    const again = await bundle(optionsFor(store, medium, { since: [join(folder, 'base2')], tool: 'newer' }));
    expect(again).toMatchObject({ id: two.id, signed: false });
    expect(await readdir(medium)).not.toContain('bundle.json.sig');
  });

  test('F33 another key signs anew, and the first does not open it any more', async () => {
    const { store, out } = await made();
    const [first, second] = [newKey(), newKey()];
    await bundle(optionsFor(store, out, { signKey: first.privateKey }));
    await bundle(optionsFor(store, out, { signKey: second.privateKey }));
    await BundleStore.open([out], { mode: 'signed', keys: [second.publicKey] });
    const wrong = BundleStore.open([out], { mode: 'signed', keys: [first.publicKey] });
    await expect(wrong).rejects.toMatchObject({ code: 'BAD_SIGNATURE' });
    await rm(join(out, 'bundle.json.sig'));
    await expect(BundleStore.open([out], { mode: 'signed', keys: [second.publicKey] })).rejects.toMatchObject(
      {
        code: 'UNSIGNED',
      },
    );
  });

  test('keygen keeps the private key to its owner, and never replaces one', async () => {
    const name = join(await temporaryFolder(), 'site');
    const pair = await keygen(name);
    expect(execFileSync('stat', ['-c', '%a', pair.privateKey]).toString().trim()).toBe('600');
    await expect(keygen(name)).rejects.toMatchObject({ code: 'CONFLICT' });
    await rm(pair.privateKey);
    await expect(keygen(name)).rejects.toMatchObject({ code: 'CONFLICT' });
    await expect(readFile(pair.privateKey)).rejects.toMatchObject({ code: 'ENOENT' });
    await expect(keygen(join(name, 'below'))).rejects.toMatchObject({
      code: 'NO_INPUT',
      message: expect.stringContaining('create it first'),
    });
  });
});

describe('T52 secrets', () => {
  const secret =
    'customization:\n  extraKernelArgs:\n    - siderolink.api=https://omni.example?jointoken=canary123456\n';

  test('a schematic with a join token is not bundled, and the message does not show it', async () => {
    const { store, out } = await made();
    const id = await store.schematic(secret);
    const error = await bundle(optionsFor(store, out)).catch((e: unknown) => e);
    expect(error).toMatchObject({ code: 'SECRET', message: expect.stringContaining(id) });
    expect(String(error)).not.toContain('canary');
  });

  test('with permission it is, and the bundle says so', async () => {
    const { store, out } = await made();
    const id = await store.schematic(secret);
    await bundle(optionsFor(store, out, { allowSecrets: true }));
    const { secrets } = await documentOf(out);
    expect(secrets).toMatchObject({ policy: 'allowed', schematics: 2 });
    expect(secrets?.found).toEqual([expect.stringContaining(id)]);
    for (const name of ['bundle.json', 'report.html', 'README.txt']) {
      expect(await readFile(join(out, name), 'utf8')).not.toContain('canary');
    }
  });
});

describe('inspect', () => {
  test('a bundle: platforms, files and sizes from its first volume', async () => {
    const { store, out } = await made();
    await bundle(optionsFor(store, out, { volumes: '0' }));
    const { items, absent, signer } = await inspectBundle([out], any);
    expect(signer).toEqual({ mode: 'unsigned' });
    expect(absent.length).toBeGreaterThan(2);
    const of = (name: string) => items.find((item) => item.name === name);
    expect(of('ghcr.io/siderolabs/omni:v1')).toMatchObject({
      platforms: ['linux/amd64', 'linux/arm64'],
      inBase: false,
    });
    expect(of('ghcr.io/siderolabs/omni:v1')?.bytes).toBeGreaterThan(270_000);
    const media = of(`factory.talos.dev/talos-media/${mediaSchematic}:v1.13.9`);
    expect(media?.files.map(({ name, size }) => [name, size])).toEqual([
      ['cmdline-metal-amd64', 300],
      ['kernel-amd64', 200_000],
      ['metal-amd64.iso', 400_000],
    ]);
  });

  test('a store: what it has and what it has issued', async () => {
    const { store, out } = await made();
    const report = await bundle(optionsFor(store, out));
    const { items, bundles, blobs } = await inspectStore(store.root);
    // The signature is an attachment of its image.
    expect(items.map(({ name }) => name)).toEqual(store.names.filter((name) => !name.endsWith('.sig')));
    expect(blobs).toBe(report.blobs);
    expect(bundles).toMatchObject([{ id: report.id, sequence: 1 }]);
  });
});

describe('verify of a store', () => {
  test('a sound one', async () => {
    const { store } = await made();
    expect(await verifyStore(store.root)).toMatchObject({ damages: [], unusable: [] });
  });

  test.each([
    ['a flipped byte', false],
    ['a cut file', true],
    ['a file that is gone', true],
  ])('%s: the file and the names that need it', async (what, seenByQuick) => {
    const { store } = await made();
    const path = store.layout.pathOf((await store.blob(5, 90_000, 'application/octet-stream')).digest);
    await chmod(path, 0o644);
    if (what === 'a flipped byte') await writeFile(path, Buffer.alloc(90_000, 1));
    else if (what === 'a cut file') await truncate(path, 1000);
    else await rm(path);
    const check = await verifyStore(store.root);
    expect(check.damages).toMatchObject([{ path }]);
    expect(check.unusable).toEqual(['registry.k8s.io/pause:3.10']);
    const quick = await verifyStore(store.root, { quick: true });
    expect(quick.bytes).toBe(0);
    expect(quick.damages.length).toBe(seenByQuick ? 1 : 0);
  });
});

test('README.txt names what is there, in lines that every editor shows', async () => {
  const { store, out } = await made();
  const report = await bundle(optionsFor(store, out));
  const text = await readFile(join(out, 'README.txt'), 'latin1');
  expect(text.split('\r\n').every((line) => line.length <= 79 || line.includes(report.id))).toBe(true);
  expect(text.replaceAll('\r\n', '')).not.toContain('\n');
  for (const part of [
    report.id,
    'sha256sum -c SHA256SUMS',
    'openssl dgst -sha256 -verify',
    'tar x',
    'skopeo copy',
    'oras copy',
  ])
    expect(text).toContain(part);
});

test.each([
  ['4GiB', 4 * 1024 ** 3 - 512],
  ['fat32', 4 * 1024 ** 3 - 512],
  ['DVD', 4_600_000_000],
  ['bluray', 24_900_000_000],
  ['700MB', 700_000_000],
  ['1.5 GiB', 1.5 * 1024 ** 3],
  ['2g', 2_000_000_000],
  ['1048576', 1_048_576],
])('--volume-size %s is %i bytes', (text, bytes) => {
  expect(parseVolumeSize(text)).toBe(bytes);
});

test.each(['', '0', '1KiB', '-4GiB', '4 XB', '1e9', '4GiBs', 'NaN', `${'9'.repeat(16)}T`])(
  '--volume-size "%s" is refused',
  (text) => {
    expect(() => parseVolumeSize(text)).toThrow(expect.objectContaining({ code: 'USAGE' }));
  },
);
