/** T47 bundle.claims: objects that will not fit into a folder are refused before anything is moved. */
import { execFileSync } from 'node:child_process';
import { mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { MediaType } from '@omni-airgap/oci/model';
import { expect, onTestFinished, test } from 'vitest';
import {
  addBlob,
  addManifest,
  bytesFor,
  loadInto,
  makeBundle,
  startDouble,
  temporary,
  two,
} from './support.ts';

const size = 3_000_000;

test('T47 a folder on a disk that is too small: said before anything moves; then there is room, and what lies there needs none', async (context) => {
  const { folder } = await makeBundle(async (layout) => {
    await two(layout);
    const config = await addBlob(layout, MediaType.empty, Buffer.from('{}'));
    const kernel = await addBlob(layout, MediaType.octetStream, bytesFor('kernel', size));
    const annotations = { 'org.opencontainers.image.title': 'kernel-amd64' };
    const name = `factory.talos.dev/talos-media/${'3'.repeat(64)}:v1.13.9`;
    await addManifest(layout, name, MediaType.ociManifest, { config, layers: [{ ...kernel, annotations }] });
  });
  const disk = join(await temporary(), 'disk');
  await mkdir(disk);
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=2M', 'tmpfs', disk], { stdio: 'pipe' });
  } catch {
    return context.skip('mounting is not permitted here (it takes root)');
  }
  onTestFinished(() => void execFileSync('umount', ['-l', disk]));
  const root = join(disk, 'not', 'there');
  const double = await startDouble();
  const load = () => loadInto(double, [folder], { objectStore: { kind: 'directory', root } });
  await expect(load()).rejects.toMatchObject({
    code: 'DISK',
    message: expect.stringMatching(/there: 2\.9 MiB are needed and 2\.0 MiB are free; make room/),
  });
  expect(await readdir(disk)).toEqual([]);
  expect(double.requests.filter(({ path, bytes }) => path.includes('/acme/') && bytes > 0)).toEqual([]);
  execFileSync('mount', ['-o', 'remount,size=4M', disk]);
  expect(await load()).toMatchObject({ objectsStored: 1 });
  expect(await load()).toMatchObject({ objectsStored: 0, objectsPresent: 1 });
});
