/**
 * F31: load of volumes made to mislead, T1 to T11. What is wrong with volume 000 or with the length of any volume is found
 * before the target is asked anything; what is wrong inside another one when its content is read, and then nothing has
 * got a name. Nothing is written but to the target.
 */
import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { BundleStore } from '@omni-airgap/format';
import { hostileThreats, hostileVolumes } from '@omni-airgap/format/testing';
import { ExitCode, exitCodeOf } from '@omni-airgap/oci/base';
import { expect, test } from 'vitest';
import { addImage, app, bytesFor, loadInto, makeBundle, startDouble, tool } from './support.ts';

/** Path, size, time and content of small files: what a test may not change. */
async function everythingIn(folder: string): Promise<readonly string[]> {
  const names = (await readdir(folder, { recursive: true })).sort();
  return Promise.all(
    names.map(async (name) => {
      const path = join(folder, name);
      const { size, mtimeMs } = await stat(path);
      const text =
        size < 1000 && !name.includes('content.tar') ? await readFile(path, 'utf8').catch(() => '') : '';
      // What is tried before anything moves leaves nothing in these folders.
      return `${name} ${size} ${['objects', 'state'].includes(name) ? '' : mtimeMs} ${text}`;
    }),
  );
}

test.each(hostileThreats)('F31 %s', { timeout: 60_000 }, async (threat) => {
  const { folder, document } = await makeBundle(async (layout) => {
    await addImage(layout, app, bytesFor('app', 100_001));
    await addImage(layout, tool, bytesFor('tool', 90_000));
  });
  const { map } = await BundleStore.open([folder], { mode: 'any' });
  const root = dirname(folder);
  await writeFile(join(root, 'sentinel'), 'untouched');
  const [objects, state] = [join(root, 'objects'), join(root, 'state')];
  for (const path of [objects, state]) await mkdir(path);
  await writeFile(join(state, 'load.lock'), '');
  for (const [volume, { name }] of document.volumes.entries()) {
    const path = join(folder, name);
    const good = await readFile(path);
    const list = hostileVolumes(good, map.parts(volume)).filter((one) => one.threat === threat);
    expect(list.length).toBeGreaterThan(1);
    for (const { what, bytes } of list) {
      await writeFile(path, bytes);
      const before = await everythingIn(root);
      const double = await startDouble();
      const error = await loadInto(double, [folder], {
        state,
        objectStore: { kind: 'directory', root: objects },
        receipt: join(root, 'receipt.json'),
      }).then(
        () => undefined,
        (error: unknown) => error,
      );
      const where = `${name}: ${what}`;
      expect(error, where).toMatchObject({ code: 'BAD_VOLUME', message: expect.stringContaining(name) });
      expect(exitCodeOf(error), where).toBe(ExitCode.integrity);
      expect(await everythingIn(root), where).toEqual(before);
      if (volume === 0 || bytes.byteLength !== good.byteLength) expect(double.requests, where).toEqual([]);
      const repositories = ['acme/app', 'acme/tool', 'omni-airgap/state'].map((one) =>
        double.repository(one),
      );
      expect(
        repositories.flatMap(({ tags }) => [...tags]),
        where,
      ).toEqual([]);
      await double.close();
    }
    await writeFile(path, good);
  }
});
