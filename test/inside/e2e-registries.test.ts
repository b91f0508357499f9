/** Registries inside as sites have them: behind TLS of a private authority, with passwords, and strict about indexes. */
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { type Registry, startRegistry } from '../services/docker-registry.ts';
import { imageCommands, type PublishedImages, publishImages } from '../services/images.ts';
import { describeWith } from '../services/service-test.ts';
import { type Certificates, makeCertificates } from '../services/tls.ts';
import { cli, cliJson, expectFailure, startServe } from '../support/cli.ts';
import { type Front, startFront } from '../support/front.ts';
import { digestAt } from '../support/publish.ts';
import { copyAll } from '../support/skopeo.ts';
import { type Workspace, workspace } from '../support/workspace.ts';

const name = 'debian/tools:v1.0.0';

describeWith(['docker-registry', 'openssl', ...imageCommands], 'registries of a site', () => {
  let publisher: Registry;
  let images: PublishedImages;
  let site: Workspace;
  beforeAll(async () => {
    publisher = await startRegistry();
    images = await publishImages(publisher);
    site = await carried(`images: [ghcr.io/${name}]\n`);
  });
  afterAll(() => publisher?.stop());

  /** Fetched, bundled, verified. */
  async function carried(mirror: string): Promise<Workspace> {
    const made = await workspace(mirror);
    await cliJson(['fetch', ...made.store, '--upstream', `ghcr.io=${publisher.url}`]);
    await cliJson(['bundle', ...made.bundle]);
    await cliJson(['verify', ...made.media]);
    return made;
  }

  describeWith(['openssl'], 'TLS and htpasswd', () => {
    let certificates: Certificates;
    let registry: Registry;
    let secure: Front;
    beforeAll(async () => {
      certificates = await makeCertificates('127.0.0.1');
      registry = await startRegistry({ auth: 'htpasswd' });
      secure = await startFront({ '/': registry.url }, { tls: certificates });
      const login = `${registry.login?.user}:${registry.login?.password}`;
      site.write('auth.json', authFile(secure.host, login));
      site.write('wrong.json', authFile(secure.host, 'site:canary-wrong'));
    });
    afterAll(async () => {
      await secure?.stop();
      await registry?.stop();
      certificates?.dispose();
    });

    const load = (...flags: string[]): readonly string[] => [
      'load',
      ...site.media,
      '--registry',
      `${secure.host}/mirror`,
      ...flags,
    ];

    test('a certificate of an unknown authority is refused, and the message names --ca-cert', async () => {
      const ended = await cli(load('--registry-config', site.at('auth.json')));
      expectFailure(ended, 5, /certificate.*--ca-cert/i);
      expect(secure.requests).toEqual([]);
    });

    test('without a password, and with a wrong one, the registry says no', async () => {
      expectFailure(await cli(load('--ca-cert', certificates.caFile)), 5, /\[DENIED\]/);
      const ended = await cli(
        load('--ca-cert', certificates.caFile, '--registry-config', site.at('wrong.json')),
      );
      expectFailure(ended, 5, /\[DENIED\]/);
      expect(ended.stderr).not.toContain('canary-wrong');
      expect(secure.requests.every(({ method }) => method === 'GET' || method === 'HEAD')).toBe(true);
    });

    test('with both, everything arrives below the prefix, and skopeo reads it', async () => {
      const flags = ['--ca-cert', certificates.caFile, '--registry-config', site.at('auth.json')];
      const said = await cli(load(...flags, '--receipt', site.at('receipt.json')));
      expect(said.code, said.stderr).toBe(0);
      expect(await copyAll(`docker://${registry.host}/mirror/${name}`, registry.login)).toEqual(
        await copyAll(`docker://${images.index.reference}`),
      );
      expect(await cliJson(load(...flags))).toMatchObject({ registry: { storedBlobs: 0 } });
      expect(said.stdout + said.stderr).not.toContain(registry.login?.password);
    });
  });

  test('one platform of an index: carried whole in itself, refused by Distribution with the ways out', async () => {
    const sparse = await carried(`images: [ghcr.io/${name}]\nplatforms: [linux/amd64]\n`);
    const registry = await startRegistry();
    onTestFinished(() => registry.stop());
    const load = ['load', ...sparse.media, '--registry', registry.host, '--plain-http', registry.host];
    expectFailure(await cli(load), 2, /only some platforms .*leave `platforms` out.*--flatten/);
    expect(await digestAt(registry, 'debian/tools', 'v1.0.0')).toBeUndefined();
    await cliJson([...load, '--flatten']);
    const flattened = await digestAt(registry, 'debian/tools', 'v1.0.0');
    expect(images.index.manifests.map((manifest) => manifest.digest)).toContain(flattened);
  });

  test('one platform of an index, in a registry of ours', async () => {
    const sparse = await carried(`images: [ghcr.io/${name}]\nplatforms: [linux/amd64]\n`);
    const server = await startServe(['--writable', sparse.at('registry')]);
    onTestFinished(async () => void (await server.stop()));
    const load = ['load', ...sparse.media, '--registry', server.host, '--plain-http', server.host];
    const ended = await cli(load);
    expect(ended.code, ended.stderr).toBe(0);
    expect(await digestAt(server, 'debian/tools', 'v1.0.0')).toBe(images.index.digest);
  });
});

function authFile(host: string, login: string): string {
  return JSON.stringify({ auths: { [host]: { auth: Buffer.from(login).toString('base64') } } });
}
