/**
 * H7: below Talos 1.10, Omni and machines ask for `installer/<id>`, from 1.10 on for `metal-installer/<id>`. A registry has
 * what was loaded and no other names, so older installers are carried under both.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type RegistryDouble, startRegistryDouble } from '../packages/oci/src/testing/index.ts';
import { schematicFrom } from '../packages/talos/src/index.ts';
import { cliJson } from './support/cli.ts';
import { addImage } from './support/double-image.ts';
import { workspace } from './support/workspace.ts';

const { id, canonical } = schematicFrom('customization: {}\n');
const versions = ['v1.9.5', 'v1.13.9'] as const;
const repositories = ['metal-installer', 'metal-installer-secureboot', 'installer', 'installer-secureboot'];

let factory: RegistryDouble;
let inside: RegistryDouble;

beforeAll(async () => {
  [factory, inside] = await Promise.all([startRegistryDouble(), startRegistryDouble()]);
  for (const repository of repositories) {
    // The factory answers both names of one installer with the same image.
    const seed = repository.endsWith('-secureboot') ? 2 : 1;
    for (const version of versions)
      await addImage(factory.repository(`${repository}/${id}`), version, seed, [1000]);
  }
  factory.fault({
    match: { method: 'POST', path: /^\/schematics$/ },
    do: { status: 201, body: JSON.stringify({ id, schematic: canonical }) },
  });
  factory.fault({ match: { path: /^\/versions$/ }, do: { status: 200, body: JSON.stringify(versions) } });
});
afterAll(() => Promise.all([factory?.close(), inside?.close()]));

test('H7 a loaded registry has the installer of an older Talos under the name that Omni asks for', async () => {
  const site = await workspace(
    `talos: {versions: [${versions.join(', ')}], talosctl: []}\nmedia: [{schematic: {customization: {}}, installers: [metal, metal-secureboot]}]\n`,
  );
  await cliJson(['fetch', ...site.store, '--upstream', `factory.talos.dev=${factory.url}`]);
  await cliJson(['bundle', ...site.bundle]);
  await cliJson([
    'load',
    ...site.media,
    '--registry',
    inside.host,
    '--plain-http',
    inside.host,
    '--handoff',
    site.at('handoff'),
  ]);
  const digests = (version: string) =>
    repositories.map((repository) => inside.repository(`${repository}/${id}`).tags.get(version));
  const [metal, secure, plain, plainSecure] = digests('v1.9.5');
  expect(metal).toMatch(/^sha256:/);
  expect(plain).toBe(metal);
  expect(plainSecure).toBe(secure);
  expect(secure).not.toBe(metal);
  expect(digests('v1.13.9')).toEqual([expect.any(String), expect.any(String), undefined, undefined]);
});
