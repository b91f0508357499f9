/** Every store there is, through the same suites. */
import { Layout } from '../src/layout/layout.ts';
import { MemoryStore } from '../src/testing/memory-store.ts';
import { connectToDouble } from '../src/testing/registry/client.ts';
import { startRegistryDouble } from '../src/testing/registry/double.ts';
import { readableStorageSuite, writableStorageSuite } from '../src/testing/storage-suite.ts';
import { temporaryLayout } from '../src/testing/temporary.ts';

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
