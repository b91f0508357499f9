/** Schematics: made known to the factory, kept as it keeps them, and never with a secret in them. */

import { Layout } from '@omni-airgap/oci/layout';
import { collect, digestFromHex } from '@omni-airgap/oci/model';
import { schematicFrom, schematicId } from '@omni-airgap/talos';
import { expect, test } from 'vitest';
import { plan } from '../src/plan.ts';
import { factoryHost } from './factory-double.ts';
import { mediaSite, mirrorOf, setName, text, vanilla } from './media-site.ts';
import { assetBytes, type Site, talosVersion } from './site.ts';

const off = '{customization: {secureboot: {enrollKeys: off}}}';
/** How some releases of the factory write it; we write 'off'. */
const spelled = 'customization:\n    secureboot:\n        enrollKeys: "off"\n';
const answering = (answer: Readonly<Record<string, string>>): Site['factory']['rules'][number] => ({
  path: /^\/schematics$/,
  answer: (_, response) => text(response, 201, JSON.stringify(answer)),
});

test.each([
  ['with its text', (id: string) => ({ id, schematic: spelled })],
  ['with the ID alone, as older releases do', (id: string) => ({ id })],
])('the factory decides how a schematic is spelled: it answers %s', async (_how, answer) => {
  const site = await mediaSite();
  const id = schematicId(spelled);
  expect(id).not.toBe(schematicFrom(off).id);
  site.factory.schematics.set(id, spelled);
  site.factory.rules.push(answering(answer(id)));
  site.factory.files.set(
    `image/${id}/${talosVersion}/kernel-amd64`,
    await assetBytes('kernel-amd64', 5, 5000),
  );
  await site.mirror(mirrorOf(['kernel-amd64'], off));
  await site.fetch();
  const names = (await site.lock()).items.map((item) => item.name);
  expect(names).toContain(`${factoryHost}/talos-media/${id}:${talosVersion}`);
  expect(names).toContain(`${factoryHost}/siderolabs/image-factory/schematics:${id}`);
  expect(JSON.stringify(names)).not.toContain(schematicFrom(off).id);
  const layout = await Layout.open(site.store);
  const stored = { mediaType: 'text/plain', digest: digestFromHex(id), size: spelled.length };
  expect(Buffer.from(await collect(layout.fetch(stored), 1000, 'schematic')).toString()).toBe(spelled);

  const posts = () => site.asked(factoryHost).filter((line) => line === 'POST /schematics').length;
  expect(posts()).toBe(1);
  expect(await site.fetch()).toMatchObject({ changed: [] });
  const planned = (await plan({ ...site })).items.filter(({ kind }) => kind === 'schematic');
  expect(planned).toMatchObject([{ name: expect.stringContaining(id), missing: 0 }]);
  expect(posts()).toBe(1);
});

test.each([
  ['another customization under its own ID', { id: schematicId(spelled), schematic: spelled }],
  ['what is no schematic', { id: schematicId('[]'), schematic: '[]' }],
  ['an ID that is none', { id: '../versions' }],
])(
  '%s from the factory is refused, and what depends on it is named as missing (F20, T51)',
  async (_what, answer) => {
    const site = await mediaSite();
    site.factory.rules.push(answering(answer));
    await site.mirror(mirrorOf(['kernel-amd64']));
    await expect(site.fetch()).rejects.toMatchObject({ code: 'DIGEST_MISMATCH' });
    expect((await site.lock()).missing).toEqual([setName, `schematic ${vanilla.id}`].sort());
    expect(site.asked(factoryHost).some((line) => line.includes('/image/'))).toBe(false);
  },
);

test('another text under the right ID is refused (F20)', async () => {
  const site = await mediaSite();
  site.factory.rules.push(answering({ id: vanilla.id, schematic: 'customization: {a: b}\n' }));
  await site.mirror(mirrorOf(['kernel-amd64']));
  await expect(site.fetch()).rejects.toMatchObject({ code: 'DIGEST_MISMATCH' });
});

test('by ID: the text comes from the factory and must have that hash (F20)', async () => {
  const site = await mediaSite();
  site.factory.schematics.set(vanilla.id, vanilla.canonical);
  await site.mirror(mirrorOf(['kernel-amd64'], vanilla.id));
  await site.fetch();
  expect((await site.lock()).missing).toEqual([]);
  const other = await mediaSite();
  other.factory.schematics.set(vanilla.id, 'customization: {}\n# changed\n');
  await other.mirror(mirrorOf(['kernel-amd64'], vanilla.id));
  await expect(other.fetch()).rejects.toMatchObject({ code: 'DIGEST_MISMATCH' });
});

test.each([
  [
    'a join token',
    '{customization: {extraKernelArgs: ["siderolink.api=https://omni.example?jointoken=CANARY0123456789"]}}',
  ],
  [
    'a private key in an embedded configuration',
    '{customization: {embeddedMachineConfiguration: "machine:\\n  ca:\\n    key: -----BEGIN PRIVATE KEY-----CANARY\\n"}}',
  ],
  [
    'a bearer token',
    '{customization: {extraKernelArgs: ["talos.config.auth=Bearer CANARY0123456789abcdef"]}}',
  ],
  [
    'credentials in a URL',
    '{customization: {extraKernelArgs: ["talos.config=https://me:CANARY01@site/cfg"]}}',
  ],
  [
    'a secret in the embedded configuration of a file',
    '{customization: {embeddedMachineConfiguration: "cluster:\\n  token: CANARY.0123456789abcdef\\n"}}',
  ],
])('with %s: refused before any request, the secret never said (F21, T52)', async (_what, schematic) => {
  const site = await mediaSite();
  await site.mirror(mirrorOf(['kernel-amd64'], schematic));
  const error = await site.fetch().catch((e: unknown) => e);
  expect(error).toMatchObject({ code: 'SECRET', message: expect.stringContaining('--allow-secrets') });
  expect(String(error)).not.toContain('CANARY');
  expect(site.asked(factoryHost)).toEqual([]);
});

test('with a secret goes out when that is allowed', async () => {
  const site = await mediaSite();
  const schematic = '{customization: {extraKernelArgs: ["x=https://omni?jointoken=abc"]}}';
  const { id } = schematicFrom(schematic);
  site.factory.files.set(
    `image/${id}/${talosVersion}/kernel-amd64`,
    await assetBytes('kernel-amd64', 5, 5000),
  );
  await site.mirror(mirrorOf(['kernel-amd64'], schematic));
  await site.fetch({ allowSecrets: true });
  expect((await site.lock()).missing).toEqual([]);
});

test('by ID whose text holds a secret is not carried unless that is allowed (T52)', async () => {
  const site = await mediaSite();
  const secret = schematicFrom('{customization: {extraKernelArgs: ["x=https://omni?jointoken=CANARY"]}}');
  site.factory.schematics.set(secret.id, secret.canonical);
  site.factory.files.set(
    `image/${secret.id}/${talosVersion}/kernel-amd64`,
    await assetBytes('kernel-amd64', 5, 5000),
  );
  await site.mirror(mirrorOf(['kernel-amd64'], secret.id));
  const error = await site.fetch().catch((e: unknown) => e);
  expect(error).toMatchObject({ code: 'SECRET' });
  expect(String(error)).not.toContain('CANARY');
  await site.fetch({ allowSecrets: true });
});
