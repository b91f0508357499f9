/** F25 F30: a medium with sectors that cannot be read. What is there is read on; the names that are hit are known. */
import { execFileSync } from 'node:child_process';
import { readFileSync, truncateSync } from 'node:fs';
import { cp, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { descriptorOf, MediaType, openerOf } from '@omni-airgap/oci/model';
import { buildManifest, generatedBlob, temporaryFolder, temporaryLayout } from '@omni-airgap/oci/testing';
import { expect, onTestFinished, test } from 'vitest';
import { BundleStore } from '../src/bundle-store.ts';
import { writeTestBundle } from '../src/testing/bundle.ts';
import { verifyBundle } from '../src/verify-bundle.ts';

const any = { mode: 'any' } as const;
const mib = 1024 * 1024;

test('EIO in the middle of a volume: place and item are named, the rest is verified', async (context) => {
  const layout = await temporaryLayout();
  const configBytes = Buffer.from('{}');
  const config = descriptorOf(MediaType.ociConfig, configBytes);
  await layout.push(config, openerOf(configBytes));
  for (const [i, size] of [6 * mib, 5 * mib, 4 * mib].entries()) {
    const { descriptor, open } = await generatedBlob(i + 1, size, 'application/vnd.oci.image.layer.v1.tar');
    await layout.push(descriptor, open);
    const image = buildManifest(MediaType.ociManifest, { config, layers: [descriptor] });
    await layout.push(image.descriptor, openerOf(image.bytes));
    await layout.tag(image.descriptor, `registry.test/app-${i}:v1`);
  }
  const folder = await temporaryFolder();
  const media = join(folder, 'media');
  await writeTestBundle(layout, media);
  const image = join(folder, 'image');
  const mounted = join(folder, 'mounted');
  await mkdir(mounted);
  try {
    const script = 'truncate -s 32M "$0" && mkfs.ext4 -q -O ^has_journal "$0" && mount -o loop "$0" "$1"';
    execFileSync('sh', ['-c', script, image, mounted], { stdio: 'pipe' });
  } catch {
    return context.skip('a loop device cannot be mounted here (it takes root)');
  }
  onTestFinished(() => {
    execFileSync('umount', ['-l', mounted]);
  });
  await cp(media, mounted, { recursive: true });
  execFileSync('sync', ['-f', mounted]);
  // The end of the disk is gone: reading there is an input/output error.
  execFileSync('mount', ['-o', 'remount,ro', mounted]);
  execFileSync('sh', ['-c', 'echo 3 > /proc/sys/vm/drop_caches'], { stdio: 'pipe' });
  const intact = await verifyBundle(await BundleStore.open([mounted], any));
  expect(intact.damages).toEqual([]);
  execFileSync('sh', ['-c', 'echo 3 > /proc/sys/vm/drop_caches'], { stdio: 'pipe' });
  const { map } = await BundleStore.open([media], any);
  const last = [...map.blobs].find((blob) => blob.size === 4 * mib);
  const bytes = readFileSync(join(media, 'content.tar.001'));
  const begin = bytes.subarray(last?.offset ?? 0, (last?.offset ?? 0) + 4096);
  const cut = readFileSync(image).indexOf(begin);
  expect(cut).toBeGreaterThan(0);
  truncateSync(image, cut);
  const check = await verifyBundle(await BundleStore.open([mounted], any));
  const unreadable = check.damages.filter(({ what }) => what.startsWith('cannot be read'));
  if (unreadable.length === 0) return context.skip('this kernel gives zeros for the missing end of a disk');
  expect(unreadable[0]?.volume).toBe('content.tar.001');
  expect(unreadable).toHaveLength(1);
  expect(Math.abs((unreadable[0]?.offset ?? 0) - (last?.offset ?? 0))).toBeLessThan(2 * mib);
  expect(check.damages.some(({ what }) => what.startsWith('blob sha256:'))).toBe(true);
  expect(check.unusable).toContain('registry.test/app-2:v1');
  expect(check.unusable).not.toContain('registry.test/app-0:v1');
});
