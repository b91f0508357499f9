/** `verify --missing`: which volumes to send again, as one line that can be read over a phone. */
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { parseVolumeRange } from '../../packages/bundler/src/volume-flags.ts';
import { writeTestBundle } from '../../packages/format/src/testing/index.ts';
import { Layout } from '../../packages/oci/src/layout/index.ts';
import { descriptorOf, MediaType, openerOf } from '../../packages/oci/src/model/index.ts';
import { temporaryFolder } from '../services/temporary.ts';
import { runHere } from '../support/cli.ts';

/** Seven volumes: the small content, and six of one layer each. */
async function bundle(): Promise<string> {
  const root = temporaryFolder('missing');
  const layout = await Layout.open(join(root, 'store'), { create: true });
  const blob = async (mediaType: string, bytes: Uint8Array) => {
    const descriptor = descriptorOf(mediaType, bytes);
    await layout.push(descriptor, openerOf(bytes));
    return descriptor;
  };
  const config = await blob(MediaType.empty, Buffer.from('{}'));
  for (let i = 0; i < 6; i++) {
    const layers = [await blob(MediaType.octetStream, Buffer.alloc(100_000, `layer ${i}`))];
    const members = { schemaVersion: 2, mediaType: MediaType.ociManifest, config, layers };
    await layout.tag(
      await blob(MediaType.ociManifest, Buffer.from(JSON.stringify(members))),
      `ghcr.io/acme/app:v${i}`,
    );
  }
  const folder = join(root, 'bundle');
  const { volumes } = await writeTestBundle(layout, folder, { volumeSize: 120_000 });
  expect(volumes).toHaveLength(7);
  return folder;
}

test('nothing: one line says so, exit code 0', async () => {
  const folder = await bundle();
  const { code, stdout } = await runHere(['verify', '--missing', '--bundle', folder]);
  expect(code).toBe(0);
  expect(stdout).toMatch(/^No volume of bundle [a-f0-9]{8} is missing or damaged\.\n$/);
});

test('missing, cut off and damaged volumes are one range, as bundle --volumes takes it', async () => {
  const folder = await bundle();
  rmSync(join(folder, 'content.tar.002'));
  const cut = join(folder, 'content.tar.005');
  writeFileSync(cut, readFileSync(cut).subarray(0, 1000));
  const bad = join(folder, 'content.tar.006');
  const bytes = readFileSync(bad);
  bytes.writeUInt8((bytes[5000] ?? 0) ^ 1, 5000);
  writeFileSync(bad, bytes);
  const { code, stdout } = await runHere(['verify', '--missing', '--bundle', folder]);
  expect(code).toBe(3);
  const [, range] = /^Send again: bundle [a-f0-9]{8}, volumes (\S+)\.\n$/.exec(stdout) ?? [];
  expect(range).toBe('2,5-6');
  expect(stdout.length).toBeLessThan(60);
  expect(parseVolumeRange(range, 7)).toEqual([2, 5, 6]);
  const json = await runHere(['verify', '--json', '--bundle', folder]);
  expect(JSON.parse(json.stdout)).toMatchObject({ resend: '2,5-6' });
});

test('a store has no volumes', async () => {
  const { code, stderr } = await runHere([
    'verify',
    '--missing',
    '--store',
    temporaryFolder('missing-store'),
  ]);
  expect(code).toBe(2);
  expect(stderr).toContain('--missing: a store has no volumes');
});
