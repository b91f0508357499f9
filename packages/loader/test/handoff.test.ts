/** Configuration for the site, filled in from what a bundle holds and what the --site file says. */
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseSite } from '@omni-airgap/talos';
import { expect, test } from 'vitest';
import { readSite } from '../src/handoff.ts';
import { addImage, bytesFor, loadInto, makeBundle, startDouble, temporary } from './support.ts';

test('load fills the hand-off in from the bundle and the site, and never writes over what was changed there', async () => {
  const { folder } = await makeBundle(async (layout) => {
    for (const name of [
      'ghcr.io/siderolabs/omni:v1.10.4',
      'ghcr.io/siderolabs/image-factory:v1.5.0',
      'ghcr.io/siderolabs/imager:v1.13.9',
      'ghcr.io/siderolabs/imager:v1.13.10',
      'ghcr.io/siderolabs/kubelet:v1.36.1',
      'quay.io/cilium/cilium:v1.18.0',
    ]) {
      await addImage(layout, name, bytesFor(name, 10));
    }
  });
  const double = await startDouble();
  const handoff = join(await temporary(), 'handoff');
  const site = parseSite('omni: https://omni.site\nfactory: https://factory.site:8080\n', 'site.yaml');
  const first = await loadInto(double, [folder], { handoff, site });
  expect(first.handoff).toMatchObject({ folder: handoff, kept: [] });
  const read = (name: string): Promise<string> => readFile(join(handoff, name), 'utf8');
  expect(await read('cluster-template.yaml')).toContain('version: v1.13.10');
  expect(await read('air-gap-patch.yaml')).toContain(`http://${double.host}`);
  expect(await read('air-gap-patch.yaml')).toContain('name: quay.io');
  const digestOf = (repository: string): string | undefined =>
    first.receipt.images.find(({ name }) => name.startsWith(`ghcr.io/${repository}:`))?.digest;
  for (const name of ['compose.yaml', 'quadlets/image-factory.container'])
    expect(await read(name)).toContain(
      `${double.host}/siderolabs/image-factory@${digestOf('siderolabs/image-factory')}`,
    );
  await writeFile(join(handoff, 'dex.yaml'), 'mine: true\n');
  const second = await loadInto(double, [folder], { handoff, site: { ...site, omni: 'https://other.site' } });
  expect(second.handoff?.kept).toEqual(['dex.yaml']);
  expect(await read('dex.yaml')).toBe('mine: true\n');
  expect(await read('dex.yaml.new')).toContain('https://other.site');
  expect(await read('compose.yaml')).toContain('--advertised-api-url=https://other.site');
  expect((await readdir(handoff)).filter((name) => name.endsWith('.new'))).toEqual(['dex.yaml.new']);
});

test('what this site has no use for any more is removed, unless somebody changed it', async () => {
  const { folder } = await makeBundle(async (layout) => {
    await addImage(layout, 'ghcr.io/siderolabs/omni:v1.10.4', bytesFor('omni', 10));
  });
  const double = await startDouble();
  const handoff = join(await temporary(), 'handoff');
  const site = (text: string) => parseSite(`omni: https://omni.site\n${text}`, 'site.yaml');
  await loadInto(double, [folder], { handoff, site: site('') });
  const quadlets = async (): Promise<readonly string[]> => (await readdir(join(handoff, 'quadlets'))).sort();
  expect(await quadlets()).toContain('dex.container');
  await writeFile(join(handoff, 'dex.yaml'), 'mine: true\n');
  const oidc = 'oidc: {issuer: "https://sso.site", clientId: omni, clientSecretFile: secret.txt}\n';
  await loadInto(double, [folder], { handoff, site: site(oidc) });
  expect(await quadlets()).toEqual(['omni-etcd.volume', 'omni-sqlite.volume', 'omni.container']);
  expect(await readFile(join(handoff, 'dex.yaml'), 'utf8')).toBe('mine: true\n');
});

test('H4 a site file that contradicts the load is refused by line and column before anything is moved', async () => {
  const { folder: bundle } = await makeBundle(async (layout) => {
    await addImage(layout, 'ghcr.io/siderolabs/omni:v1.10.4', bytesFor('omni', 10));
  });
  const double = await startDouble();
  const handoff = join(await temporary(), 'handoff');
  const text = (registry: string) =>
    parseSite(`omni: https://omni.site\nregistry: ${registry}\n`, 'site.yaml');
  const site = text(`http://${double.host}`);
  const registry = { host: double.host, prefix: 'proj/x' };
  const refused = loadInto(double, [bundle], { handoff, site, registry });
  await expect(refused).rejects.toMatchObject({
    code: 'CONFIG',
    message: `site.yaml:2:11: registry has no prefix, but load uses the prefix proj/x; write http://${double.host}/proj/x`,
  });
  expect(double.requests.filter(({ method }) => method === 'PUT' || method === 'POST')).toEqual([]);
  await loadInto(double, [bundle], { handoff, site: text(double.host), registry });
  const read = (name: string): Promise<string> => readFile(join(handoff, name), 'utf8');
  expect(await read('air-gap-patch.yaml')).toContain(`http://${double.host}/v2/proj/x`);
  expect(await read('compose.yaml')).toContain(
    `--kubernetes-registry=${double.host}/proj/x/siderolabs/kubelet`,
  );
});

test('paths of the site file are paths of the hand-off, wherever both are', async () => {
  const folder = await temporary();
  await writeFile(
    join(folder, 'site.yaml'),
    'certificates: {omni: {chain: pki/omni-chain.pem, key: /etc/pki/omni.key}}\nsecrets: pki\n',
  );
  const { site } = await readSite(join(folder, 'site.yaml'));
  expect(site.secrets).toBe(join(folder, 'pki'));
  const { folder: bundle } = await makeBundle(async (layout) => {
    await addImage(layout, 'ghcr.io/siderolabs/omni:v1.10.4', bytesFor('omni', 10));
  });
  const handoff = join(folder, 'deep', 'handoff');
  await loadInto(await startDouble(), [bundle], { handoff, site });
  const compose = await readFile(join(handoff, 'compose.yaml'), 'utf8');
  expect(compose).toContain('- ../../pki/omni-chain.pem:/certs/server-chain.pem:ro,Z');
  expect(compose).toMatch(/- (?:\.\.\/)+etc\/pki\/omni\.key:\/certs\/server-key\.pem:ro,Z/);
  expect(compose).toContain('- ../../pki/omni.asc:/omni.asc:ro,Z');
});

test('the authority that the site file names is one clean text, whatever stands around it', async () => {
  const folder = await temporary();
  const pem = '-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----';
  await writeFile(join(folder, 'ca.pem'), `\n  ${pem}\r\n\n`);
  await writeFile(join(folder, 'site.yaml'), 'caFile: ca.pem\n');
  expect((await readSite(join(folder, 'site.yaml'))).ca).toBe(`${pem}\n`);
  await writeFile(join(folder, 'ca.pem'), `${pem}\n-----BEGIN PRIVATE KEY-----\n`);
  await expect(readSite(join(folder, 'site.yaml'))).rejects.toMatchObject({ code: 'CONFIG' });
});

test('a mistake in the site file is named by file, line and column', async () => {
  const path = join(await temporary(), 'site.yaml');
  for (const [text, problem] of [
    [
      'omni: https://omni.site\nfactroy: https://factory.site\n',
      '2:1: unknown key "factroy"; did you mean factory?',
    ],
    ['omni: &a https://omni.site\nfactory: *a\n', '1:10: anchors are not supported; write the value out'],
    [`ntp:\n  ${'- '.repeat(33)}a\n`, '2:65: nested deeper than 32 levels'],
  ] as const) {
    await writeFile(path, text);
    await expect(readSite(path)).rejects.toMatchObject({ code: 'CONFIG', message: `${path}:${problem}` });
  }
});
