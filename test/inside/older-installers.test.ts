/**
 * H7: below Talos 1.10, Omni and machines ask for `installer/<id>`, from 1.10 on for `metal-installer/<id>`. A registry has
 * what was loaded and no other names, so older installers are carried under both.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { type RegistryDouble, startRegistryDouble } from '../../packages/oci/src/testing/index.ts';
import { schematicFrom } from '../../packages/talos/src/index.ts';
import { documents } from '../../packages/talos/test/documents.ts';
import { command } from '../services/command.ts';
import { startRegistry } from '../services/docker-registry.ts';
import { describeWith } from '../services/service-test.ts';
import { cliJson } from '../support/cli.ts';
import { addImage } from '../support/double-image.ts';
import { type Workspace, workspace } from '../support/workspace.ts';

const { id, canonical } = schematicFrom('customization: {}\n');
const versions = ['v1.9.5', 'v1.13.9'] as const;
const repositories = ['metal-installer', 'metal-installer-secureboot', 'installer', 'installer-secureboot'];

let factory: RegistryDouble;
let inside: RegistryDouble;
let site: Workspace;

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
  site = await workspace(
    `talos: {versions: [${versions.join(', ')}], talosctl: []}\nmedia: [{schematic: {customization: {}}, installers: [metal, metal-secureboot]}]\n`,
  );
  await cliJson(['fetch', ...site.store, '--upstream', `factory.talos.dev=${factory.url}`]);
  await cliJson(['bundle', ...site.bundle]);
});
afterAll(() => Promise.all([factory?.close(), inside?.close()]));

/** @returns the folder of the hand-off */
async function load(registry: string): Promise<string> {
  const handoff = site.at(`handoff-${registry.replaceAll(/\W/g, '-')}`);
  const [host = ''] = registry.split('/');
  await cliJson([
    ...['load', ...site.media, '--registry', registry, '--plain-http', host],
    ...['--state', `${handoff}-state`, '--handoff', handoff],
  ]);
  return handoff;
}

test('H7 a loaded registry has the installer of an older Talos under the name that Omni asks for', async () => {
  await load(inside.host);
  const digests = (version: string) =>
    repositories.map((repository) => inside.repository(`${repository}/${id}`).tags.get(version));
  const [metal, secure, plain, plainSecure] = digests('v1.9.5');
  expect(metal).toMatch(/^sha256:/);
  expect(plain).toBe(metal);
  expect(plainSecure).toBe(secure);
  expect(secure).not.toBe(metal);
  expect(digests('v1.13.9')).toEqual([expect.any(String), expect.any(String), undefined, undefined]);
});

interface OlderPatch {
  readonly machine: {
    readonly registries: {
      readonly mirrors: Readonly<
        Record<string, { readonly endpoints: readonly string[]; readonly overridePath?: boolean }>
      >;
    };
  };
}

describeWith(['docker-registry', 'skopeo'], 'a real registry', () => {
  test.each(['', '/proj/x'])(
    'H7 skopeo pulls both names by the mirrors of the machine patch (prefix "%s")',
    async (prefix) => {
      const registry = await startRegistry();
      onTestFinished(() => registry.stop());
      const handoff = await load(`${registry.host}${prefix}`);
      const [patch] = documents(readFileSync(join(handoff, 'air-gap-patch-1.11.yaml'), 'utf8')) as [
        OlderPatch,
      ];
      const mirror = patch.machine.registries.mirrors['factory.talos.dev'] ?? expect.fail('no mirror');
      // With overridePath Talos takes the path of the URL as it is; else it adds /v2.
      const place = mirror.endpoints[0]?.replace('http://', '').replace(/\/v2(?=\/|$)/, '');
      expect(mirror.overridePath ?? false).toBe(prefix !== '');
      // In place of the host, not beside it: no fallback.
      const rule = `[[registry]]\nprefix = "factory.talos.dev"\nlocation = "${place}"\ninsecure = true\n`;
      const rules = site.write('registries.conf', rule);
      const pull = (name: string): Promise<string> => {
        const to = `dir:${site.at('pulled')}`;
        const from = `docker://factory.talos.dev/${name}`;
        const flags = ['--insecure-policy', '--registries-conf', rules, 'copy', '--quiet'];
        return command('skopeo', [...flags, from, to]);
      };
      for (const repository of repositories) await pull(`${repository}/${id}:v1.9.5`);
      await pull(`metal-installer/${id}:v1.13.9`);
      await expect(pull(`installer/${id}:v1.13.9`)).rejects.toThrow(/manifest unknown/);
    },
  );
});
