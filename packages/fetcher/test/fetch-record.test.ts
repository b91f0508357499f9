/** The egress record of a fetch: without it nothing is requested. */
import { statfsSync, writeFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { run } from '@omni-airgap/oci/testing';
import { expect, onTestFinished, test } from 'vitest';
import { publishImage, startSite } from './site.ts';

const images = Array.from({ length: 300 }, (_, i) => `ghcr.io/acme/app:v${i}`);

test('A18 a disk that is full for the record stops the run, with the reason and what to do', async (context) => {
  const site = await startSite();
  await mkdir(site.store);
  try {
    run('mount', ['-t', 'tmpfs', '-o', 'size=2m', 'tmpfs', site.store]);
  } catch {
    return context.skip('mounting a small tmpfs needs root');
  }
  onTestFinished(() => void run('umount', [site.store]));
  for (const [i] of images.entries()) await publishImage(site.registry('ghcr.io'), 'acme/app', `v${i}`);
  await site.mirror(`images: [${images[0]}]`);
  await site.fetch();
  const { bavail, bsize } = statfsSync(site.store);
  // Room for the file that is tried before the first request, and for some lines.
  writeFileSync(join(site.store, 'filler'), Buffer.alloc((bavail - 4) * bsize));
  await site.mirror(`images: [${images.join(', ')}]`);
  const before = site.asked('ghcr.io').length;
  await expect(site.fetch()).rejects.toMatchObject({
    code: 'DISK',
    message: expect.stringMatching(
      /egress\.jsonl \(the egress record; 0 B free\): no space left on this disk/,
    ),
  });
  expect(site.asked('ghcr.io').length - before).toBeLessThan(images.length / 2);
});
