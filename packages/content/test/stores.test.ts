/** Every store there is, through the same suites. */
import { BundleStore } from '../src/bundle/bundle-store.ts';
import { Layout } from '../src/layout/layout.ts';
import {
  connectToDouble,
  readableStorageSuite,
  startRegistryDouble,
  writableStorageSuite,
  writeTestBundle,
} from '../src/testing/index.ts';
import { MemoryStore } from '../src/testing/memory-store.ts';
import { temporaryFolder, temporaryLayout } from './temporary.ts';

readableStorageSuite(
  'memory',
  async (fill) => {
    const store = new MemoryStore();
    await fill(store);
    return { store };
  },
  ['files'],
);
writableStorageSuite('memory', async () => ({ store: new MemoryStore() }));

readableStorageSuite('a layout', async (fill) => {
  const layout = await temporaryLayout();
  await fill(layout);
  return { store: await Layout.open(layout.root) };
});
writableStorageSuite('a layout', async () => ({ store: await temporaryLayout() }));

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

readableStorageSuite(
  'a registry',
  async (fill) => {
    const double = await startRegistryDouble();
    const { client, gate } = connectToDouble(double);
    await fill(client.repository('suite'));
    const close = async (): Promise<void> => {
      await gate.close();
      await double.close();
    };
    return { store: client.repository('suite'), close };
  },
  ['files', 'names'],
);
writableStorageSuite('a registry', async () => {
  const double = await startRegistryDouble();
  const { client, gate } = connectToDouble(double);
  const close = async (): Promise<void> => {
    await gate.close();
    await double.close();
  };
  return { store: client.repository('suite'), close };
}, ['names']);
