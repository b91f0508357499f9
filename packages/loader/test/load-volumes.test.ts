/** Volumes that are missing, mixed up or damaged. */
import { execFileSync } from 'node:child_process';
import { copyFile, mkdir, open, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { VolumeMap } from '@omni-airgap/format';
import { expect, test } from 'vitest';
import { addImage, app, big, bytesFor, loadInto, makeBundle, startDouble, tool, two } from './support.ts';

test('F28 a volume that is missing is asked for by its number; the rest is loaded, no name is published', async () => {
  const { folder } = await makeBundle(two, { volumeSize: 400_000 });
  const kept = await readFile(join(folder, 'content.tar.002'));
  await rm(join(folder, 'content.tar.002'));
  const double = await startDouble();
  const refused = loadInto(double, [folder]);
  await expect(refused).rejects.toMatchObject({ code: 'INCOMPLETE' });
  await expect(refused).rejects.toThrow('1 of 3 volumes is missing: 2');
  const sent = double.requests.reduce((sum, { bytes }) => sum + bytes, 0);
  expect(sent).toBeGreaterThan(big);
  expect([...double.repository('acme/app').tags, ...double.repository('acme/tool').tags]).toEqual([]);
  await writeFile(join(folder, 'content.tar.002'), kept);
  const report = await loadInto(double, [folder]);
  expect(report.registry?.storedBytes).toBeLessThan(big + 10_000);
  expect(double.repository('acme/app').tags.has('v1')).toBe(true);
});

test('F28 discs one after another: bundle.json and volume 000 are on each', async () => {
  const { folder } = await makeBundle(two, { volumeSize: 400_000 });
  const double = await startDouble();
  const kept = await readFile(join(folder, 'content.tar.001'));
  const other = await readFile(join(folder, 'content.tar.002'));
  await rm(join(folder, 'content.tar.002'));
  await expect(loadInto(double, [folder])).rejects.toMatchObject({ code: 'INCOMPLETE' });
  await rm(join(folder, 'content.tar.001'));
  await writeFile(join(folder, 'content.tar.002'), other);
  const report = await loadInto(double, [folder]);
  expect(report.receipt.images).toHaveLength(2);
  expect(kept.byteLength).toBeGreaterThan(0);
});

test('F29 a volume of another bundle under the same name is refused', async () => {
  const { folder } = await makeBundle(two, { volumeSize: 400_000 });
  const older = await makeBundle(
    async (layout) => {
      await addImage(layout, app, bytesFor('older', big));
      await addImage(layout, tool, bytesFor('oldest', big));
    },
    { volumeSize: 400_000 },
  );
  const same = await readFile(join(older.folder, 'content.tar.001'));
  await writeFile(join(folder, 'content.tar.001'), same);
  const double = await startDouble();
  await expect(loadInto(double, [folder])).rejects.toMatchObject({ code: 'BAD_VOLUME' });
  await writeFile(join(folder, 'content.tar.001'), same.subarray(512));
  await expect(loadInto(double, [folder])).rejects.toMatchObject({ code: 'BAD_VOLUME' });
  expect(double.repository('acme/app').tags.size).toBe(0);
});

test.each([
  ['a FIFO', (path: string) => execFileSync('mkfifo', [path])],
  ['a link to it', (path: string) => symlink(path.replace('content.tar', 'aside.tar'), path)],
  ['a folder', (path: string) => mkdir(path)],
])(
  'T48 %s in place of a volume is refused before the registry is asked, without hanging',
  async (_what, put) => {
    const { folder, document } = await makeBundle(two, { volumeSize: 400_000 });
    for (const { name } of document.volumes.slice(0, 2)) {
      const path = join(folder, name);
      await rename(path, path.replace('content.tar', 'aside.tar'));
      await put(path);
      const double = await startDouble();
      await expect(loadInto(double, [folder])).rejects.toMatchObject({
        code: 'BAD_VOLUME',
        message: `${path}: not a regular file`,
      });
      expect(double.requests).toEqual([]);
      await rm(path, { recursive: true });
      await rename(path.replace('content.tar', 'aside.tar'), path);
    }
  },
);

test('T46 a volume too many is refused before the registry is asked', async () => {
  const { folder } = await makeBundle(two, { volumeSize: 400_000 });
  await copyFile(join(folder, 'content.tar.001'), join(folder, 'content.tar.009'));
  const double = await startDouble();
  await expect(loadInto(double, [folder])).rejects.toMatchObject({
    code: 'BAD_VOLUME',
    message: expect.stringMatching(/content\.tar\.009: does not belong to this bundle/),
  });
  expect(double.requests).toEqual([]);
});

test('F30 a damaged blob is named with its volume; the other volumes stay usable', async () => {
  const { folder, document } = await makeBundle(two, { volumeSize: 400_000 });
  const blob = document.blobs.find(({ volume }) => volume === 1);
  const file = await open(join(folder, 'content.tar.001'), 'r+');
  await file.write(Buffer.from('X'), 0, 1, (blob?.offset ?? 0) + 1000);
  await file.close();
  const double = await startDouble();
  await expect(loadInto(double, [folder])).rejects.toMatchObject({
    code: 'BAD_VOLUME',
    message: expect.stringMatching(/content\.tar\.001 at byte \d+/),
  });
  const held = [double.repository('acme/app'), double.repository('acme/tool')];
  expect(held.flatMap((repository) => [...repository.tags])).toEqual([]);
  expect(held.flatMap((repository) => [...repository.blobs.values()]).some((b) => b.byteLength === big)).toBe(
    true,
  );
});

test('F30 a flip in any header, padding, file of the layout, blob or trailer: that volume is refused by name', async () => {
  const { folder, document } = await makeBundle(two, { volumeSize: 400_000 });
  const names = new Map(document.roots.map(({ name, descriptor }) => [name, descriptor]));
  const sizes = document.volumes.map(({ size }) => size);
  const map = new VolumeMap(names, { blobs: document.blobs, sizes });
  const seen = new Set<string>();
  for (const volume of sizes.keys()) {
    const name = `content.tar.00${volume}`;
    let at = 0;
    for (const part of map.parts(volume)) {
      const size = part.kind === 'fixed' ? part.bytes.byteLength : part.size;
      seen.add(part.kind === 'fixed' ? part.of.replace(/ .*/, '') : 'blob');
      for (const offset of new Set([at, at + size - 1])) {
        const file = await open(join(folder, name), 'r+');
        const { buffer } = await file.read(Buffer.alloc(1), 0, 1, offset);
        await file.write(Buffer.from([(buffer[0] ?? 0) ^ 0x20]), 0, 1, offset);
        const double = await startDouble();
        await expect(loadInto(double, [folder]), `${name} at ${offset}`).rejects.toMatchObject({
          code: 'BAD_VOLUME',
          message: expect.stringContaining(name),
        });
        const held = [double.repository('acme/app'), double.repository('acme/tool')];
        expect(held.flatMap((repository) => [...repository.tags])).toEqual([]);
        // What the other volumes hold has gone where it belongs.
        const large = held.flatMap(({ blobs }) => [...blobs.values()]).filter((b) => b.byteLength === big);
        if (volume > 0) expect(large.length).toBeGreaterThan(0);
        await file.write(buffer, 0, 1, offset);
        await file.close();
      }
      at += size;
    }
    expect(at).toBe(sizes[volume]);
  }
  expect([...seen].sort()).toEqual(['blob', 'end', 'header', 'index.json', 'oci-layout', 'padding']);
  await expect(loadInto(await startDouble(), [folder])).resolves.toBeDefined();
});
