/** A bundle as a store, through the same suite as the others. */
import { readableStorageSuite, temporaryFolder, temporaryLayout } from '@omni-airgap/oci/testing';
import { BundleStore } from '../src/bundle-store.ts';
import { writeTestBundle } from '../src/testing/bundle.ts';

readableStorageSuite('a bundle', async (fill) => {
  const layout = await temporaryLayout();
  await fill(layout);
  const folder = await temporaryFolder();
  await writeTestBundle(layout, folder);
  return { store: await BundleStore.open([folder], { mode: 'any' }) };
});
readableStorageSuite('a bundle whose blobs are cut', async (fill) => {
  const layout = await temporaryLayout();
  await fill(layout);
  const folder = await temporaryFolder();
  await writeTestBundle(layout, folder, { volumeSize: 1024 * 1024 });
  return { store: await BundleStore.open([folder], { mode: 'any' }) };
});
