/**
 * T1 to T11: volumes made to mislead. A reader makes the header that must be there and compares it, so whatever a volume
 * says instead is damage: it has no names, types, sizes or links to be followed. Each is signed-off by the right
 * bundle.json, as somebody would who can write to the medium only.
 */
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Layout } from '@omni-airgap/oci/layout';
import { generatedBlob, temporaryFolder, temporaryLayout } from '@omni-airgap/oci/testing';
import { expect, test } from 'vitest';
import { BundleStore } from '../src/bundle-store.ts';
import type { BundleDocument } from '../src/documents/bundle-document.ts';
import { writeTestBundle } from '../src/testing/bundle.ts';
import { type HostileVolume, hostileThreats, hostileVolumes } from '../src/testing/hostile-volumes.ts';
import { verifyBundle } from '../src/verify-bundle.ts';

const any = { mode: 'any' } as const;

interface Made {
  readonly folder: string;
  readonly document: BundleDocument;
  readonly volumes: readonly {
    readonly name: string;
    readonly good: Buffer;
    readonly hostile: readonly HostileVolume[];
  }[];
}

/** Volume 000 has the small content, volume 001 three blobs, the last with padding. */
async function make(): Promise<Made> {
  const layout = await temporaryLayout();
  for (const [seed, size] of [100_000, 90_000, 70_001, 300].entries()) {
    const { descriptor, open } = await generatedBlob(seed + 1, size);
    await layout.push(descriptor, open);
  }
  const folder = join(await temporaryFolder(), 'media');
  const document = await writeTestBundle(layout, folder);
  const { map } = await BundleStore.open([folder], any);
  const volumes = await Promise.all(
    document.volumes.map(async ({ name }, volume) => {
      const good = await readFile(join(folder, name));
      return { name, good, hostile: hostileVolumes(good, map.parts(volume)) };
    }),
  );
  return { folder, document, volumes };
}

async function tree(folder: string): Promise<readonly string[]> {
  return (await readdir(folder, { recursive: true })).sort();
}

test.each(hostileThreats)(
  '%s: each is damage of that volume, and nothing is written anywhere',
  async (threat) => {
    const { folder, volumes } = await make();
    expect(volumes).toHaveLength(2);
    const before = await tree(join(folder, '..'));
    for (const { name, good, hostile } of volumes) {
      const list = hostile.filter((one) => one.threat === threat);
      expect(list.length, threat).toBeGreaterThan(1);
      for (const { what, bytes } of list) {
        const where = `${name}: ${what}`;
        expect(bytes.equals(good), where).toBe(false);
        await writeFile(join(folder, name), bytes);
        if (bytes.byteLength !== good.byteLength)
          await expect(BundleStore.open([folder], any), where).rejects.toMatchObject({ code: 'BAD_VOLUME' });
        const { damages } = await verifyBundle(await BundleStore.open([folder], any, { volumes: 'present' }));
        expect(damages.length, where).toBeGreaterThan(0);
        expect(new Set(damages.map(({ volume }) => volume)), where).toEqual(new Set([name]));
      }
      await writeFile(join(folder, name), good);
    }
    expect(await tree(join(folder, '..'))).toEqual(before);
    expect((await verifyBundle(await BundleStore.open([folder], any))).damages).toEqual([]);
  },
);

test('the threats are all that there are', async () => {
  const { volumes } = await make();
  for (const { hostile } of volumes)
    expect([...new Set(hostile.map(({ threat }) => threat))]).toEqual(hostileThreats);
});

test('T8 a bundle.json that names one blob twice, or a digest in capitals', async () => {
  const { folder, document } = await make();
  const [blob] = document.blobs;
  const path = join(folder, 'bundle.json');
  const upper = blob?.digest.toUpperCase();
  for (const blobs of [
    [...document.blobs, blob],
    [{ ...blob, digest: upper }, ...document.blobs.slice(1)],
  ]) {
    await writeFile(path, JSON.stringify({ ...document, blobs }));
    await expect(BundleStore.open([folder], any)).rejects.toMatchObject({ code: 'BAD_DOCUMENT' });
  }
});

test('a blob of the bundle is never taken from a volume that was not read: fetch gives its bytes, and push checks them', async () => {
  const { folder, document, volumes } = await make();
  const target = await Layout.open(join(await temporaryFolder(), 'store'), { create: true });
  const [blob] = document.blobs.filter((one) => one.volume === 1);
  if (blob === undefined) throw new Error('there is a blob');
  const changed = Buffer.from(volumes[1]?.good ?? []);
  changed[blob.offset + 10] = (changed[blob.offset + 10] ?? 0) ^ 1;
  await writeFile(join(folder, 'content.tar.001'), changed);
  const bundle = await BundleStore.open([folder], any);
  const descriptor = { mediaType: 'application/octet-stream', digest: blob.digest, size: blob.size };
  const pushed = target.push(descriptor, () => bundle.fetch(descriptor));
  await expect(pushed).rejects.toMatchObject({ code: 'DIGEST_MISMATCH' });
});
