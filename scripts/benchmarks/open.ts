/** Opening a bundle of 20,000 blobs: bundle.json parsed, checked and mapped, as every command inside does first. */
import { truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  type BundleDocument,
  BundleStore,
  bundleIdOf,
  planVolumes,
  serializeBundleDocument,
  volumeName,
} from '../../packages/format/src/index.ts';
import { type Descriptor, digestOf, MediaType } from '../../packages/oci/src/model/index.ts';
import type { BenchmarkContext } from './harness/rounds.ts';

const blobCount = 20_000;
const nameCount = 2_000;
const mostMs = 300;

export default async function benchmark({ folder }: BenchmarkContext): Promise<readonly string[]> {
  const bytes = await makeBundle(folder);
  const started = performance.now();
  // The first one in this process, as for any command.
  await BundleStore.open([folder], { mode: 'any' });
  const ms = performance.now() - started;
  const text = `${blobCount} blobs and ${nameCount} names, bundle.json of ${(bytes / 1e6).toFixed(1)} MB: ${ms.toFixed(0)} ms`;
  console.log(`open: ${text}`);
  return ms > mostMs ? [`open: ${text}, more than ${mostMs}`] : [];
}

/** @returns bytes of its bundle.json */
async function makeBundle(folder: string): Promise<number> {
  const blobs = Array.from({ length: blobCount }, (_, i) => ({
    digest: digestOf(Buffer.from(`${i}`)),
    size: (i * 7919) % 300_000,
  }));
  const root: Descriptor = { mediaType: MediaType.ociManifest, digest: digestOf(Buffer.from('0')), size: 0 };
  const names = new Map(Array.from({ length: nameCount }, (_, i) => [`registry.test/app-${i}:v1`, root]));
  const plan = planVolumes(names, blobs, 4 * 1024 ** 3);
  const volumes: BundleDocument['volumes'] = [];
  for (const [i, size] of plan.sizes.entries()) {
    const name = volumeName(i);
    await writeFile(join(folder, name), '');
    await truncate(join(folder, name), size);
    volumes.push({ name, size, sha256: '0'.repeat(64) });
  }
  const text = serializeBundleDocument({
    kind: 'omni-airgap/bundle',
    schema: 1,
    id: bundleIdOf(volumes),
    origin: '0'.repeat(32),
    sequence: 1,
    createdAt: '2026-01-01T00:00:00Z',
    tool: 'bench',
    roots: [...names].map(([name, descriptor]) => ({ name, descriptor })),
    blobs: [...plan.blobs],
    volumes,
    files: [],
    egress: [],
  });
  await writeFile(join(folder, 'bundle.json'), text);
  return Buffer.byteLength(text);
}
