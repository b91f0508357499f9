/** A store as bundling leaves it, with the least. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { BundleDocument } from '@omni-airgap/format';
import { serializeDocument } from '@omni-airgap/format';
import { writeTestBundle } from '@omni-airgap/format/testing';
import { Layout } from '@omni-airgap/oci/layout';
import { generatedBlob, temporaryFolder } from '@omni-airgap/oci/testing';

/** A store that has issued one bundle: volumes 001 to 003 hold parts of a blob, a smaller one follows in 003. */
export async function issuedBundle(): Promise<{ store: string; document: BundleDocument }> {
  const store = join(await temporaryFolder(), 'store');
  const layout = await Layout.open(store, { create: true });
  for (const [seed, size] of [
    [1, 900_000],
    [2, 100_000],
    [3, 100],
  ] as const) {
    const { descriptor, open } = await generatedBlob(seed, size);
    await layout.push(descriptor, open);
  }
  const document = await writeTestBundle(layout, join(store, 'media'), { volumeSize: 400 * 1024 });
  const folder = join(store, 'bundles', document.id);
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, 'bundle.json'), serializeDocument(document));
  return { store, document };
}
