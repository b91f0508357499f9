/** Mistakes that cost a trip across the gap: said by plan and fetch alike, before the first byte where they can be. */
import { existsSync } from 'node:fs';
import { MediaType } from '@omni-airgap/oci/model';
import { buildManifest } from '@omni-airgap/oci/testing';
import { parseSite, schematicFrom } from '@omni-airgap/talos';
import { describe, expect, test } from 'vitest';
import { parseMirror } from '../src/mirror/mirror.ts';
import { plan, planFailure } from '../src/plan.ts';
import { factoryHost } from './factory-double.ts';
import { mediaSite, mirrorOf } from './media-site.ts';
import { publishImage, startSite, talosVersion } from './site.ts';

const schematicOf = (...extensions: readonly string[]): string =>
  `{customization: {systemExtensions: {officialExtensions: [${extensions.join(', ')}]}}}`;
const misspelt = schematicOf('siderolabs/iscsitools');
const reason = `for Talos ${talosVersion}, "siderolabs/iscsitools" is not an official extension; did you mean siderolabs/iscsi-tools?`;

describe('C8, U-M3 an extension that the factory does not offer', () => {
  const asked = (site: Awaited<ReturnType<typeof mediaSite>>): readonly string[] =>
    site.asked(factoryHost).filter((line) => line.includes('/image/') || line.includes('/v2/'));

  test('in a schematic of mirror.yaml: plan and fetch name it with the nearest, and nothing is built', async () => {
    const site = await mediaSite();
    await site.mirror(mirrorOf(['metal-amd64.iso', 'kernel-amd64'], misspelt));
    const result = await plan({ ...site });
    const [first, ...others] = result.problems;
    expect(first).toMatchObject({ code: 'CONFIG', message: expect.stringContaining(reason) });
    expect(first?.message).toMatch(/mirror\.yaml:3:\d+: /);
    expect(others.map(({ code }) => code)).toEqual(['INCOMPLETE', 'INCOMPLETE']);
    expect(planFailure(result)).toMatchObject({ code: 'CONFIG' });
    await expect(site.fetch()).rejects.toMatchObject({
      code: 'CONFIG',
      message: expect.stringContaining(reason),
    });
    expect(asked(site)).toEqual([]);
  });

  test('in a schematic that only its ID is known of', async () => {
    const site = await mediaSite();
    const { id, canonical } = schematicFrom(misspelt);
    site.factory.schematics.set(id, canonical);
    await site.mirror(mirrorOf(['kernel-amd64'], id));
    expect((await plan({ ...site })).problems[0]?.message).toContain(reason);
    await expect(site.fetch()).rejects.toMatchObject({ code: 'CONFIG' });
    // Now the store has the schematic.
    expect((await plan({ ...site })).problems[0]?.message).toContain(reason);
    expect(asked(site)).toEqual([]);
  });

  test('an overlay likewise', async () => {
    const site = await mediaSite();
    site.factory.files.set(
      `version/${talosVersion}/overlays/official`,
      Buffer.from('[{"name":"rpi_generic","image":"siderolabs/sbc-raspberrypi"}]'),
    );
    await site.mirror(
      mirrorOf(['kernel-amd64'], '{overlay: {image: siderolabs/sbc-raspberrypi, name: rpi_generik}}'),
    );
    expect((await plan({ ...site })).problems[0]?.message).toContain(
      '"rpi_generik" is not an official overlay; did you mean rpi_generic?',
    );
  });

  test('of two Talos versions the one that has it is built', async () => {
    const site = await mediaSite();
    site.factory.files.set('version/v1.12.4/extensions/official', Buffer.from('[]'));
    const { id } = schematicFrom(schematicOf('siderolabs/iscsi-tools'));
    const kernel = site.factory.files.get(
      [...site.factory.files.keys()].find((path) => path.endsWith('/kernel-amd64')) ?? '',
    );
    for (const version of ['v1.12.4', talosVersion])
      site.factory.files.set(`image/${id}/${version}/kernel-amd64`, kernel ?? Buffer.alloc(0));
    await site.mirror(`talos: {versions: [v1.12.4, ${talosVersion}], talosctl: []}
media: [{schematic: ${schematicOf('siderolabs/iscsi-tools')}, files: [kernel-amd64]}]`);
    const { problems, items } = await plan({ ...site });
    expect(problems.map(({ name }) => name).filter((name) => name.includes(talosVersion))).toEqual([]);
    expect(problems.map(({ message }) => message).join()).toContain('for Talos v1.12.4');
    expect(items.find(({ name }) => name.includes(`${talosVersion} kernel`))?.problem).toBeUndefined();
    await expect(site.fetch()).rejects.toMatchObject({ code: 'CONFIG' });
    const { items: locked, missing } = await site.lock();
    expect(locked.map(({ name }) => name)).toContain(`${factoryHost}/talos-media/${id}:${talosVersion}`);
    expect(missing).toContain(`${factoryHost}/talos-media/${id}:v1.12.4`);
  });

  test('a name that the factory has another one for is taken', async () => {
    const site = await mediaSite();
    site.factory.files.set(
      `version/${talosVersion}/extensions/official`,
      Buffer.from('[{"name":"siderolabs/i915"}]'),
    );
    await site.mirror(mirrorOf(['kernel-amd64'], schematicOf('siderolabs/i915-ucode')));
    expect((await plan({ ...site })).problems).toEqual([]);
  });

  test('where the factory has no list of extensions, it decides, and is asked for its words', async () => {
    const site = await mediaSite();
    site.factory.files.delete(`version/${talosVersion}/extensions/official`);
    site.factory.rules.push({
      path: /^\/image\//,
      answer: (request, response) => {
        const text = `official extension "siderolabs/iscsitools" is not available for Talos version ${talosVersion}\n`;
        response.writeHead(400, { 'content-type': 'text/plain' });
        response.end(request.method === 'HEAD' ? undefined : text);
      },
    });
    await site.mirror(mirrorOf(['kernel-amd64'], misspelt));
    expect((await plan({ ...site })).problems).toEqual([]);
    await expect(site.fetch()).rejects.toMatchObject({
      message: expect.stringContaining('"siderolabs/iscsitools" is not available'),
    });
  });
});

test.each([
  [
    'files: [metall-amd64.iso]',
    /mirror\.yaml:2:\d+: media\[0\]\.files\[0\] metall is not a platform of Talos; did you mean metal\?/,
  ],
  ['installers: [metall]', /installers\[0\] metall is not a platform of Talos; did you mean metal\?/],
  ['installers: [opensack-secureboot]', /opensack is not a platform of Talos; did you mean openstack\?/],
])('U-M3 a misspelt platform is refused with the nearest: %s', async (text, message) => {
  const mirror = `apiVersion: omni-airgap/v1\nmedia: [{schematic: {customization: {}}, versions: [v1.13.9], ${text}}]`;
  await expect(parseMirror(mirror, 'mirror.yaml')).rejects.toMatchObject({
    code: 'CONFIG',
    message: expect.stringMatching(message),
  });
});

test('U-M3 every Talos version that the factory does not offer is named, with its newest of that minor', async () => {
  const site = await mediaSite();
  await site.mirror(
    `media: [{schematic: {customization: {}}, versions: [v1.13.99, v1.99.0, v1.13.9], files: [kernel-amd64]}]`,
  );
  const message = 'does not offer Talos v1.13.99 (its newest of that minor is v1.13.9), v1.99.0';
  expect((await plan({ ...site })).problems.map((one) => one.message).join()).toContain(message);
  await expect(site.fetch()).rejects.toMatchObject({ code: 'NOT_FOUND' });
});

test('a talosctl system that does not exist is found when the list of the version is in the store', async () => {
  const site = await mediaSite();
  await site.mirror(mirrorOf(['kernel-amd64'], undefined, ', talosctl: [linux-amd64]'));
  await site.fetch();
  await site.mirror(mirrorOf(['kernel-amd64'], undefined, ', talosctl: [linux-amd64, plan9-amd64]'));
  const result = await plan({ ...site });
  expect(result.problems.map(({ message }) => message).join()).toContain('none for plan9-amd64');
  expect(planFailure(result)).toMatchObject({ code: 'CONFIG' });
});

const omniSite = `omni: {version: v1.10.4}
talos: {versions: [v1.13.9]}
kubernetes: {versions: [v1.36.1]}
`;

test('what mirror.yaml contradicts by itself is refused before any request or write, as plan says', async () => {
  const site = await startSite({ 'ghcr.io': {}, 'registry.k8s.io': {} });
  await site.mirror(`${omniSite}inside: {factory: carried, tls: true}`);
  const message = expect.stringMatching(
    /^it will not work inside: inside\.factory is carried, but no Image Factory is/,
  );
  await expect(site.fetch()).rejects.toMatchObject({ code: 'CONFIG', message });
  expect([...site.asked('ghcr.io'), ...site.asked('registry.k8s.io')]).toEqual([]);
  expect(existsSync(site.store)).toBe(false);
  expect(planFailure(await plan({ ...site }))).toMatchObject({ code: 'CONFIG', message });
});

test('a site file that names a registry which Omni cannot read is refused likewise', async () => {
  const site = await startSite({ 'ghcr.io': {}, 'registry.k8s.io': {} });
  await site.mirror(`${omniSite}inside: {factory: existing}`);
  const file = parseSite('registry: http://registry.site:5000', 'site.yaml');
  await expect(site.fetch({ site: file })).rejects.toMatchObject({
    code: 'CONFIG',
    message: expect.stringContaining('site.yaml:1:11: registry http://registry.site:5000'),
  });
  expect(site.asked('ghcr.io')).toEqual([]);
});

test('P15, P8 what only content tells is found by plan, said by fetch, and refused with --strict after all is locked', async () => {
  const site = await startSite({ 'ghcr.io': {}, 'alt.example.com': {} });
  const ghcr = site.registry('ghcr.io');
  await publishImage(ghcr, 'c/plain', 'v1');
  await publishImage(site.registry('alt.example.com'), 'c/plain', 'v1', { seed: 7 });
  const repository = ghcr.repository('c/mixed');
  const config = repository.addBlob(
    Buffer.from('{"os":"linux","architecture":"amd64"}'),
    MediaType.dockerConfig,
  );
  const image = buildManifest(MediaType.dockerManifest, { config, layers: [] });
  const child = repository.addManifest(image.bytes, MediaType.dockerManifest);
  const index = buildManifest(MediaType.ociIndex, { manifests: [child] });
  repository.addManifest(index.bytes, MediaType.ociIndex, 'v1');
  await site.mirror(`images: ['ghcr.io/c/plain:v1', 'alt.example.com/c/plain:v1', 'ghcr.io/c/mixed:v1']
inside: {registry: quay}`);
  const expected = [
    {
      level: 'warning',
      message: expect.stringMatching(
        /ghcr\.io\/c\/plain:v1 and alt\.example\.com\/c\/plain:v1|alt\.example\.com\/c\/plain:v1 and ghcr/,
      ),
    },
    {
      level: 'warning',
      message: expect.stringContaining(
        'Quay refuses an OCI index with Docker images in it (ghcr.io/c/mixed:v1)',
      ),
    },
    { level: 'confirm', message: expect.stringContaining('Quay refuses organizations that do not exist') },
  ];
  const planned = await plan({ ...site });
  expect(planned.inside).toEqual(expected);
  expect(planned.warnings).toHaveLength(2);
  expect(planFailure(planned)).toBeUndefined();
  expect(planFailure(planned, true)).toMatchObject({ code: 'CONFIG' });
  expect((await site.fetch()).inside).toEqual(expected);
  expect((await site.lock()).inside).toEqual({ registry: 'quay' });
  await expect(site.fetch({ strict: true })).rejects.toMatchObject({
    code: 'CONFIG',
    message: expect.stringMatching(/^--strict: 2 warnings about the site: /),
  });
  expect((await site.lock()).missing).toEqual([]);
});

test.each([
  [
    'inside: {registry: habor}',
    /inside\.registry habor is no known kind of registry; known are distribution, /,
  ],
  ['inside: {tls: "yes"}', /inside\.tls is a string, neither true nor false/],
  ['inside: {factory: none}', /inside\.factory none must be one of existing, carried, serve/],
  ['inside: {fctory: serve}', /inside\.fctory is not known here; did you mean factory\?/],
])('%s is refused', async (text, message) => {
  await expect(
    parseMirror(`apiVersion: omni-airgap/v1\nimages: [ghcr.io/c/x:v1]\n${text}`, 'mirror.yaml'),
  ).rejects.toMatchObject({ code: 'CONFIG', message: expect.stringMatching(message) });
});

test.each([
  [
    'versions: [v1.13.9]',
    /versions is not known here; it belongs under omni or talos or kubernetes: indent it there/,
  ],
  [
    'kubernetes: {versions: [1.36]}',
    /kubernetes\.versions\[0\] is a number, not a version; write it in full, like v1\.36\.1/,
  ],
  ['images:\n  - ghcr.io/dexidp/dex:', /an image has no colon behind it: write - ghcr\.io\/dexidp\/dex:TAG/],
])('U minor 9 %s says what was meant', async (text, message) => {
  await expect(
    parseMirror(`apiVersion: omni-airgap/v1\ntalos: {versions: [v1.13.9]}\n${text}`, 'mirror.yaml'),
  ).rejects.toMatchObject({ code: 'CONFIG', message: expect.stringMatching(message) });
});
