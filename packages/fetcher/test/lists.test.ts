/** What the factory knows besides builds: versions, extensions, overlays, talosctl, certificate and key. */
import { expect, test } from 'vitest';
import { factoryHost } from './factory-double.ts';
import { filesOf, mediaSite, mirrorOf } from './media-site.ts';
import { talosVersion } from './site.ts';

const catalog = (what: string, tag = talosVersion): string => `${factoryHost}/talos-catalog/${what}:${tag}`;

test('versions that are carried, extensions, overlays, talosctl, certificate and key are kept as artifacts', async () => {
  const site = await mediaSite();
  await site.mirror(mirrorOf(['kernel-amd64']));
  await site.fetch();
  const said = async (name: string) =>
    Object.fromEntries(
      Object.entries(await filesOf(site, name)).map(([file, bytes]) => [file, bytes.toString()]),
    );
  expect(await said(catalog('versions', 'latest'))).toEqual({ versions: '["v1.13.9"]\n' });
  expect(await said(catalog('extensions'))).toEqual({
    'extensions.json': '[{"name":"siderolabs/iscsi-tools"}]\n',
  });
  expect(await said(catalog('overlays'))).toEqual({ 'overlays.json': '[]\n' });
  expect(await said(catalog('secureboot', 'latest'))).toEqual({
    'signing-cert.pem': '-----BEGIN CERTIFICATE-----\n',
  });
  expect(await said(catalog('cosign', 'latest'))).toEqual({
    'signing-key.pub': '-----BEGIN PUBLIC KEY-----\n',
  });
  expect(Object.keys(await filesOf(site, catalog('talosctl')))).toEqual(['talosctl-linux-amd64']);
  const kinds = (await site.lock()).items
    .filter((item) => item.name.includes('/talos-catalog/'))
    .map((item) => item.kind);
  expect(kinds).toEqual(Array(6).fill('catalog'));
});

test.each([
  ['all', ['talosctl-darwin-arm64', 'talosctl-linux-amd64']],
  ['[darwin-arm64]', ['talosctl-darwin-arm64']],
])('talosctl: %s', async (wanted, files) => {
  const site = await mediaSite();
  await site.mirror(mirrorOf(['kernel-amd64'], undefined, `, talosctl: ${wanted}`));
  await site.fetch();
  expect(Object.keys(await filesOf(site, catalog('talosctl')))).toEqual(files);
});

test('none, when talosctl is an empty list', async () => {
  const site = await mediaSite();
  await site.mirror(mirrorOf(['kernel-amd64'], undefined, ', talosctl: []'));
  await site.fetch();
  expect((await site.lock()).items.map((item) => item.name)).not.toContain(catalog('talosctl'));
});

test('a system that talosctl is not made for is refused, those that there are named', async () => {
  const site = await mediaSite();
  await site.mirror(mirrorOf(['kernel-amd64'], undefined, ', talosctl: [plan9-amd64]'));
  await expect(site.fetch()).rejects.toMatchObject({
    code: 'CONFIG',
    message: expect.stringContaining('none for plan9-amd64; there are linux-amd64, darwin-arm64'),
  });
});

test('a Talos version that the factory does not offer is named', async () => {
  const site = await mediaSite();
  site.factory.files.set('versions', Buffer.from('["v1.12.4"]'));
  await site.mirror(mirrorOf(['kernel-amd64']));
  await expect(site.fetch()).rejects.toMatchObject({
    code: 'NOT_FOUND',
    message: expect.stringContaining(talosVersion),
  });
});

const extensions = `version/${talosVersion}/extensions/official`;
const overlays = `version/${talosVersion}/overlays/official`;
test.each([
  ['versions', '<html>log in</html>', 'a web page'],
  ['versions', '{"versions":[]}', 'not a list of names'],
  ['versions', '[5]', 'not a list of names'],
  [extensions, '<!DOCTYPE html>', 'a web page'],
  [extensions, 'blocked', 'a value was expected'],
  [extensions, '{}', 'not a catalog'],
  [extensions, '[{"name":5}]', '0.name'],
  [extensions, '[{"name":"a","digest":"sha256:1"}]', '0.digest'],
  [overlays, '[{"image":"a"}]', '0.name'],
  [overlays, '["a"]', 'not a catalog'],
  [`talosctl/${talosVersion}`, '<html>', 'a web page'],
  [`talosctl/${talosVersion}`, '{}', 'not a list of names'],
  [`talosctl/${talosVersion}`, '["https://portal.example/login"]', 'names no talosctl'],
  ['secureboot/signing-cert.pem', '<html>', 'a web page'],
  ['secureboot/signing-cert.pem', 'blocked', 'not PEM'],
  ['oci/cosign/signing-key.pub', '{}', 'not PEM'],
])('%s that is %j is refused, and comes when it is right (T21, F10)', async (path, answer, message) => {
  const site = await mediaSite();
  const right = site.factory.files.get(path) ?? Buffer.alloc(0);
  site.factory.files.set(path, Buffer.from(answer));
  await site.mirror(mirrorOf(['kernel-amd64']));
  await expect(site.fetch()).rejects.toMatchObject({
    code: 'UPSTREAM',
    message: expect.stringContaining(message),
  });
  site.factory.files.set(path, right);
  await site.fetch();
  expect((await site.lock()).missing).toEqual([]);
});

test('what a factory does not have (its certificate, say) is left out', async () => {
  const site = await mediaSite();
  site.factory.files.delete('secureboot/signing-cert.pem');
  await site.mirror(mirrorOf(['kernel-amd64']));
  await site.fetch();
  expect((await site.lock()).items.map((item) => item.name)).not.toContain(catalog('secureboot', 'latest'));
});
