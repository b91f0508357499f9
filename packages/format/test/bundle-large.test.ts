/** Blobs of 8 GiB and more, whole in a volume and cut over several: read by offset, and as tar sees them. */

import { open, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { collect, digestOf, hexOf, MediaType } from '@omni-airgap/oci/model';
import { run, temporaryFolder } from '@omni-airgap/oci/testing';
import { expect, test } from 'vitest';
import { BundleStore } from '../src/bundle-store.ts';
import {
  type BundleDocument,
  bundleIdOf,
  serializeBundleDocument,
} from '../src/documents/bundle-document.ts';
import { VolumeMap, volumeName } from '../src/volumes/volume-map.ts';
import { planVolumes } from '../src/volumes/volume-plan.ts';

const GiB = 1024 ** 3;
/** Nobody reads all of it here, so its digest is made up; its bytes are a hole but for the last ones. */
const size = 9 * GiB + 5;
const blob = { digest: digestOf(Buffer.from('large')), size };
const end = Buffer.from('end of it');

/** A bundle as sparse files: headers, padding and the end of the blob are written, the rest are holes. */
async function makeLarge(volumeSize: number): Promise<string> {
  const folder = await temporaryFolder();
  const plan = planVolumes(new Map(), [blob], volumeSize);
  const map = new VolumeMap(new Map(), plan);
  const volumes: BundleDocument['volumes'] = [];
  for (const [volume, bytes] of plan.sizes.entries()) {
    const path = join(folder, volumeName(volume));
    await writeFile(path, '');
    const file = await open(path, 'r+');
    let at = 0;
    for (const part of map.parts(volume)) {
      if (part.kind === 'fixed') await file.write(part.bytes, 0, part.bytes.byteLength, at);
      else if (part.from + part.size === size)
        await file.write(end, 0, end.length, at + part.size - end.length);
      at += part.kind === 'fixed' ? part.bytes.byteLength : part.size;
    }
    await file.close();
    await truncate(path, bytes);
    expect(at).toBe(bytes);
    volumes.push({ name: volumeName(volume), size: bytes, sha256: '0'.repeat(64) });
  }
  const document: BundleDocument = {
    kind: 'omni-airgap/bundle',
    schema: 1,
    id: bundleIdOf(volumes),
    origin: '0'.repeat(32),
    sequence: 1,
    createdAt: '2026-01-01T00:00:00Z',
    tool: 'test',
    roots: [],
    blobs: [...plan.blobs],
    volumes,
    files: [],
    egress: [],
  };
  await writeFile(join(folder, 'bundle.json'), serializeBundleDocument(document));
  return folder;
}

test.each([
  ['in one volume', 16 * GiB, 2],
  ['cut over volumes of 4 GiB less 512 bytes', 4 * GiB - 512, 4],
])('9 GiB %s', async (_what, volumeSize, count) => {
  const folder = await makeLarge(volumeSize);
  const bundle = await BundleStore.open([folder], { mode: 'any' });
  expect(bundle.document.volumes).toHaveLength(count);
  const descriptor = { ...blob, mediaType: MediaType.octetStream };
  const last = await collect(bundle.fetchFrom(descriptor, size - end.length), 100, 'blob');
  expect(Buffer.from(last)).toEqual(end);
  // Over the end of the first volume, if it is cut.
  const cut = bundle.map.runsOf({ ...blob, ...bundle.map.place(blob.digest) } as never)[0]?.size ?? 0;
  let seen = 0;
  for await (const chunk of bundle.fetchFrom(descriptor, Math.min(cut, size) - 10)) {
    seen += chunk.byteLength;
    if (seen > 1000 || seen >= 10) break;
  }
  expect(seen).toBeGreaterThanOrEqual(10);
  if (count === 2) {
    // GNU tar skips over the data of a file that it can seek in; volume 001 is an archive by itself.
    const listed = run('tar', ['-tvf', join(folder, volumeName(1))]).toString();
    expect(listed).toMatch(new RegExp(` ${size} .* blobs/sha256/${hexOf(blob.digest)}\n$`));
  }
});
