/** A store as bundling leaves it, with the least. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { BundleDocument } from '@omni-airgap/format';
import { serializeDocument } from '@omni-airgap/format';
import { writeTestBundle } from '@omni-airgap/format/testing';
import { Layout } from '@omni-airgap/oci/layout';
import { generatedBlob, temporaryFolder } from '@omni-airgap/oci/testing';
import { onTestFinished } from 'vitest';
import { Store } from '../src/store.ts';

/** A store that has issued one bundle: volumes 001 to 003 hold parts of a blob, a smaller one follows in 003. */
export async function issuedBundle(): Promise<{ root: string; store: Store; document: BundleDocument }> {
  const root = join(await temporaryFolder(), 'store');
  const layout = await Layout.open(root, { create: true });
  for (const [seed, size] of [
    [1, 900_000],
    [2, 100_000],
    [3, 100],
  ] as const) {
    const { descriptor, open } = await generatedBlob(seed, size);
    await layout.push(descriptor, open);
  }
  const document = await writeTestBundle(layout, join(root, 'media'), { volumeSize: 400 * 1024 });
  const folder = join(root, 'bundles', document.id);
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, 'bundle.json'), serializeDocument(document));
  return { root, store: await openStore(root), document };
}

/** Alone, until the test is finished. */
export async function openStore(root: string): Promise<Store> {
  const store = await Store.open(root, { access: 'exclusive', purpose: 'test', create: true });
  onTestFinished(() => store.close());
  return store;
}
