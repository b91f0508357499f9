import type { Layout } from '@omni-airgap/oci/layout';
import { descriptorOf, digestOf, MediaType } from '@omni-airgap/oci/model';
import { buildManifest } from '@omni-airgap/oci/testing';
import { beforeEach, describe, expect, test } from 'vitest';
import { answer, carried, v } from './carried.ts';
import { newLayout, type Running, start } from './support.ts';

let layout: Layout;
let id: string;

beforeEach(async () => {
  ({ layout, id } = await carried());
});

const serve = (): Promise<Running> => start({ source: layout });

describe('lists and keys', () => {
  test('versions are those of which something is here', async () => {
    const { url } = await serve();
    expect(await (await fetch(`${url}/versions`)).json()).toEqual(['v1.12.10', v, 'v1.14.0-rc.1']);
    expect(await (await fetch(`${url}/versions?broken=true`)).json()).toEqual([]);
  });

  test('extensions, overlays, talosctl, keys', async () => {
    const { url } = await start({ source: layout, externalUrl: 'https://factory.example:8443/base/' });
    for (const version of [v, '1.13.9']) {
      expect(await (await fetch(`${url}/version/${version}/extensions/official`)).json()).toMatchObject([
        { name: 'siderolabs/iscsi-tools' },
      ]);
      expect(await (await fetch(`${url}/version/${version}/overlays/official`)).json()).toEqual([]);
      expect(await (await fetch(`${url}/talosctl/${version}`)).json()).toEqual([
        `https://factory.example:8443/base/talosctl/${v}/talosctl-linux-amd64`,
      ]);
    }
    const binary = await fetch(`${url}/talosctl/${v}/talosctl-linux-amd64`);
    expect(binary.headers.get('content-disposition')).toBe('attachment; filename="talosctl-linux-amd64"');
    expect(await binary.text()).toBe('ELF');
    expect((await fetch(`${url}/talosctl/${v}/passwd`)).status).toBe(404);
    expect(await answer(await fetch(`${url}/oci/cosign/signing-key.pub`))).toEqual([200, 'PEM\n']);
    const cert = await fetch(`${url}/secureboot/signing-cert.pem`);
    expect([cert.headers.get('content-type'), await cert.text()]).toEqual([
      'application/x-pem-file',
      'CERT\n',
    ]);
  });

  test('a version from before overlays has none, and is no wish', async () => {
    const server = await serve();
    expect(await answer(await fetch(`${server.url}/version/1.6.8/overlays/official`))).toEqual([200, '[]\n']);
    expect((await server.wishes()).wishes).toEqual([]);
  });

  test('of a version that is not here: 404 and a wish', async () => {
    const server = await serve();
    expect((await fetch(`${server.url}/version/v1.99.0/extensions/official`)).status).toBe(404);
    expect((await fetch(`${server.url}/talosctl/v1.99.0/talosctl-linux-amd64`)).status).toBe(404);
    expect((await server.wishes()).wishes).toMatchObject([
      { kind: 'version', version: 'v1.99.0' },
      { kind: 'talosctl', version: 'v1.99.0', file: 'talosctl-linux-amd64' },
    ]);
  });
});

describe('installers in the registry', () => {
  test('under both names of the metal installer; latest is the newest release', async () => {
    const server = await serve();
    const digest = async (path: string): Promise<string | null> =>
      (await fetch(`${server.url}/v2/${path}`, { method: 'HEAD' })).headers.get('docker-content-digest');
    const newest = await digest(`metal-installer/${id}/manifests/${v}`);
    expect(newest).toMatch(/^sha256:/);
    expect(await digest(`installer/${id}/manifests/${v}`)).toBe(newest);
    expect(await digest(`installer/${id}/manifests/${newest}`)).toBe(newest);
    expect(await digest(`metal-installer/${id}/manifests/latest`)).toBe(newest);
    for (const tag of [v, 'latest']) {
      expect(await digest(`factory.talos.dev/metal-installer/${id}/manifests/${tag}`)).toBe(newest);
    }
    const tags = (await (await fetch(`${server.url}/v2/installer/${id}/tags/list`)).json()) as {
      tags: string[];
    };
    expect(tags.tags).toHaveLength(3);
    expect((await fetch(`${server.url}/v2/installer-secureboot/${id}/manifests/${v}`)).status).toBe(404);
    expect((await server.wishes()).wishes).toMatchObject([
      { kind: 'installer', schematic: id, version: v, repository: 'installer-secureboot' },
    ]);
  });
});

describe('every answer', () => {
  test.each(['/versions', '/v2/', '/nothing', '/image/x/y/z', '/healthz', '/'])(
    '%s says who and which',
    async (path) => {
      const { url } = await serve();
      const own = await fetch(`${url}${path}`);
      expect(own.headers.get('server')).toBe('Image Factory omni-airgap');
      expect(own.headers.get('server')).not.toContain('Enterprise');
      expect(own.headers.get('x-request-id')).toMatch(/^[0-9a-f-]{36}$/);
      const sent = await fetch(`${url}${path}`, { headers: { 'x-request-id': 'abc-1' } });
      expect(sent.headers.get('x-request-id')).toBe('abc-1');
      const odd = await fetch(`${url}${path}`, { headers: { 'x-request-id': 'a b<c>' } });
      expect(odd.headers.get('x-request-id')).toMatch(/^[0-9a-f-]{36}$/);
    },
  );

  test('an unknown path is 404 in plain text', async () => {
    expect(await answer(await fetch(`${(await serve()).url}/nothing`))).toEqual([
      404,
      '404 page not found\n',
    ]);
  });

  test('pages of other sites may read the factory, and nothing else', async () => {
    const { url } = await serve();
    const origin = 'https://omni.site.example';
    const allowed = async (path: string, init: RequestInit = {}): Promise<(string | null)[]> => {
      const { headers } = await fetch(`${url}${path}`, { ...init, headers: { origin, ...init.headers } });
      const names = ['allow-origin', 'expose-headers', 'allow-methods', 'allow-headers'];
      return names.map((name) => headers.get(`access-control-${name}`));
    };
    const readable = ['*', 'Content-Disposition, Content-Length, Content-Type', null, null];
    expect(await allowed('/versions')).toEqual(readable);
    expect(await allowed(`/image/${id}/${v}/nothing`)).toEqual(readable);
    const ask = (method: string): RequestInit => ({
      method: 'OPTIONS',
      headers: { 'access-control-request-method': method },
    });
    expect(await allowed('/versions', ask('GET'))).toEqual([
      '*',
      null,
      'GET, HEAD, OPTIONS',
      'Cache-Control',
    ]);
    const nothing = [null, null, null, null];
    expect(await allowed('/schematics', ask('POST'))).toEqual(nothing);
    expect(await allowed('/schematics', { method: 'POST', body: '{}' })).toEqual(nothing);
    for (const path of ['/', '/wants.json', '/healthz', '/v2/']) {
      expect(await allowed(path)).toEqual(nothing);
      expect(await allowed(path, ask('GET'))).toEqual(nothing);
    }
    const { status, headers } = await fetch(`${url}/versions`, { method: 'OPTIONS' });
    expect([status, headers.get('allow')]).toEqual([204, 'GET, HEAD, OPTIONS']);
  });

  test('a wrong method is 405 in plain text', async () => {
    const { url } = await serve();
    const response = await fetch(`${url}/versions`, { method: 'POST', body: 'x' });
    expect([response.status, response.headers.get('allow'), await response.text()]).toEqual([
      405,
      'GET, HEAD, OPTIONS',
      'Method Not Allowed\n',
    ]);
  });
});

test.each([true, false])(
  'an empty page says how to load something into it (takes pushes: %s)',
  async (takes) => {
    const empty = await newLayout();
    const server = await start(takes ? { writable: empty } : { source: empty });
    const { host } = new URL(server.url);
    const page = async () => (await (await fetch(server.url)).text()).replaceAll('\n', ' ');
    expect(await page()).toContain('Nothing is here yet');
    expect(await page()).toContain('omni-airgap serve --bundle');
    expect((await page()).includes(`--registry ${host} --plain-http ${host}`)).toBe(takes);
    expect(await page()).not.toContain('All content read so far is whole');
    const filled = await start({ source: layout });
    expect(await (await fetch(filled.url)).text()).not.toContain('Nothing is here yet');
  },
);

describe('what is pushed here', () => {
  const bytes = Buffer.from('arm64 kernel');
  const config = Buffer.from('{}');
  const mediaType = MediaType.ociManifest;
  const media = 'application/vnd.omni-airgap.talos-media.v1';
  const artifact = (artifactType: string | undefined, title: string, type: string = MediaType.empty) => ({
    ...(artifactType === undefined ? {} : { artifactType }),
    config: descriptorOf(type, config),
    layers: [
      {
        ...descriptorOf(MediaType.octetStream, bytes),
        annotations: { 'org.opencontainers.image.title': title },
      },
    ],
  });

  async function pushed(path: string, tag: string, members: object) {
    const server = await start({ source: layout, writable: await newLayout() });
    const repo = `${server.url}/v2/${path}`;
    for (const body of [bytes, config]) {
      const done = await fetch(`${repo}/blobs/uploads/?digest=${digestOf(body)}`, { method: 'POST', body });
      expect(done.status).toBe(201);
    }
    const body = Buffer.from(buildManifest(mediaType, members).bytes);
    const put = await fetch(`${repo}/manifests/${tag}`, {
      method: 'PUT',
      body,
      headers: { 'content-type': mediaType },
    });
    expect(put.status).toBe(201);
    return (request: string) => fetch(`${server.url}/${request}`);
  }

  test.each(['talos-media', 'factory.talos.dev/talos-media'])(
    'counts at once in the form of what load pushes: %s',
    async (path) => {
      const get = await pushed(`${path}/${id}`, 'v1.15.0', artifact(media, 'kernel-arm64'));
      expect(await answer(await get(`image/${id}/v1.15.0/kernel-arm64`))).toEqual([200, 'arm64 kernel']);
      expect(await (await get('versions')).json()).toContain('v1.15.0');
      expect(await (await get('')).text()).toContain(`/image/${id}/v1.15.0/kernel-arm64`);
    },
  );

  test.each([
    ['no artifact type', 'talos-media', artifact(undefined, 'kernel-arm64')],
    ['another artifact type', 'talos-media', artifact('application/vnd.example', 'kernel-arm64')],
    ['a config of its own', 'talos-media', artifact(media, 'kernel-arm64', MediaType.ociConfig)],
    [
      'a layer without a title',
      'talos-media',
      { ...artifact(media, ''), layers: [descriptorOf(MediaType.octetStream, bytes)] },
    ],
    [
      'no artifact type, and the host of the factory',
      'factory.talos.dev/talos-media',
      artifact(undefined, 'kernel-arm64'),
    ],
  ])('is pulled, and is no boot asset, with %s', async (_what, path, members) => {
    const get = await pushed(`${path}/${id}`, 'v1.15.0', members);
    expect((await get(`image/${id}/v1.15.0/kernel-arm64`)).status).toBe(404);
    expect(await (await get('versions')).json()).not.toContain('v1.15.0');
    expect((await get(`v2/${path}/${id}/manifests/v1.15.0`)).status).toBe(200);
  });

  test('does not take the place of a carried file, list or schematic', async () => {
    const get = await pushed(`talos-media/${id}`, v, artifact(undefined, 'kernel-amd64'));
    expect(await answer(await get(`image/${id}/${v}/kernel-amd64`))).toEqual([200, 'kernel bytes']);
    const list = await pushed('talos-catalog/versions', 'latest', artifact(media, 'versions'));
    expect(await (await list('versions')).json()).toEqual(expect.arrayContaining([v]));
    const unknown = 'b'.repeat(64);
    const schematic = await pushed('siderolabs/image-factory/schematics', unknown, artifact(media, 'any'));
    expect((await schematic(`schematics/${unknown}`)).status).toBe(404);
    expect((await schematic(`schematics/${id}`)).status).toBe(200);
  });
});
