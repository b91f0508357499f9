import { digestOf } from '@omni-airgap/oci/model';
import { expect, test } from 'vitest';
import { describePlan } from '../src/load-view.ts';

const digest = digestOf(Buffer.from('image'));
const tag = digest.replace(':', '-');
const item = (
  target: string,
  bytes: number,
  of = digestOf(Buffer.from(target)),
  action = 'store' as const,
) => ({
  ...{ name: target, target, digest: of, action, bytes },
});

test('load --dry-run shows what speaks about an image with the image (U minor 4)', () => {
  const other = digestOf(Buffer.from('another')).replace(':', '-');
  const text = describePlan({
    bundle: 'b',
    images: [
      item('registry.site:5000/acme/app:v1', 1000, digest),
      item(`registry.site:5000/acme/app:${tag}.sig`, 20),
      item(`registry.site:5000/acme/app:${tag}.att`, 4),
      item('registry.site:5000/acme/app:latest', 0, digest),
      item(`registry.site:5000/acme/app:${other}.sig`, 20),
      item(`registry.site:5000/acme/copy:${tag}.sig`, 20),
    ],
    objects: [],
    bytes: 1064,
    missing: [],
  });
  expect(text.split('\n')).toEqual([
    'store      1.0 KiB  registry.site:5000/acme/app:v1 (with attestation, signature)',
    'store          0 B  registry.site:5000/acme/app:latest',
    `store         20 B  registry.site:5000/acme/app:${other}.sig`,
    `store         20 B  registry.site:5000/acme/copy:${tag}.sig`,
    'Bundle b: 4 items to store (1.0 KiB), 0 already present. Nothing was changed.',
  ]);
});
