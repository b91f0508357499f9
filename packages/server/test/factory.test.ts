/** The Image Factory's API over what was carried. */
import { readFileSync } from 'node:fs';
import type { Layout } from '@omni-airgap/content';
import { schematicFrom, schematicSpellings } from '@omni-airgap/talos';
import { beforeEach, describe, expect, test } from 'vitest';
import { newLayout, putFiles, putImage, putSchematic, type Running, start } from './support.ts';

const v = 'v1.13.9';
const plain = 'customization: {}\n';
const other =
  'customization:\n    extraKernelArgs:\n        - siderolink.api=grpc://omni:8090\n        - net.ifnames=0\n';
const cmdline = 'talos.platform=metal console=tty0 init_on_alloc=1 slab_nomerge pti=on';
const vectors = readFileSync(
  new URL('../../talos/test/vectors/schematic-vectors.jsonl', import.meta.url),
  'utf8',
)
  .trimEnd()
  .split('\n')
  .map((line) => JSON.parse(line) as { input: string; canonical?: string; id?: string; error?: true });

let layout: Layout;
let id: string;

beforeEach(async () => {
  layout = await newLayout();
  id = await putSchematic(layout, plain);
  await putFiles(layout, `factory.talos.dev/talos-media/${id}:${v}`, {
    'metal-amd64.iso': 'iso bytes',
    'kernel-amd64': 'kernel bytes',
    'initramfs-amd64.xz': 'initramfs bytes',
    'cmdline-metal-amd64': cmdline,
    'metal-amd64-secureboot-uki.efi': 'uki bytes',
    'cmdline-metal-amd64-secureboot': `${cmdline} lockdown=confidentiality`,
  });
  await putFiles(layout, 'factory.talos.dev/talos-catalog/versions:latest', { versions: `["${v}"]\n` });
  await putFiles(layout, `factory.talos.dev/talos-catalog/extensions:${v}`, {
    'extensions.json':
      '[{"name":"siderolabs/iscsi-tools","ref":"r","digest":"d","author":"a","description":"e"}]\n',
  });
  await putFiles(layout, `factory.talos.dev/talos-catalog/overlays:${v}`, { 'overlays.json': '[]\n' });
  await putFiles(layout, `factory.talos.dev/talos-catalog/talosctl:${v}`, { 'talosctl-linux-amd64': 'ELF' });
  await putFiles(layout, 'factory.talos.dev/talos-catalog/cosign:latest', { 'signing-key.pub': 'PEM\n' });
  await putFiles(layout, 'factory.talos.dev/talos-catalog/secureboot:latest', {
    'signing-cert.pem': 'CERT\n',
  });
  await putImage(layout, `factory.talos.dev/metal-installer/${id}:${v}`, Buffer.from('installer'));
  await putImage(layout, `factory.talos.dev/metal-installer/${id}:v1.12.10`, Buffer.from('older installer'));
  await putImage(
    layout,
    `factory.talos.dev/metal-installer/${id}:v1.14.0-rc.1`,
    Buffer.from('newer installer'),
  );
});

const serve = (): Promise<Running> => start({ source: layout });

async function post(url: string, body: string): Promise<Response> {
  return fetch(`${url}/schematics`, {
    method: 'POST',
    body,
    headers: { 'content-type': 'application/yaml' },
  });
}

async function answer(response: Response): Promise<readonly [number, string]> {
  return [response.status, await response.text()];
}

describe('POST /schematics', () => {
  test('all 511 vectors: the canonical text and ID, or 400', async () => {
    const { url } = await serve();
    expect(vectors).toHaveLength(511);
    for (const { input, canonical, id: expected, error } of vectors) {
      const response = await post(url, input);
      if (error === true) {
        expect([response.status, input]).toEqual([400, input]);
        expect(await response.text()).toMatch(/\n$/);
        continue;
      }
      const isOwned = schematicFrom(input).schematic.owner !== undefined;
      expect([response.status, input]).toEqual([isOwned ? 400 : 201, input]);
      if (!isOwned) expect(await response.json()).toEqual({ id: expected, schematic: canonical });
      else await response.text();
    }
  });

  test.each([
    [
      'an unknown field',
      'customisation: {}\n',
      /line 1: field customisation not found in type schematic.Schematic/,
    ],
    ['an owner', 'owner: me\ncustomization: {}\n', /Enterprise edition/],
    ['a wrong type', 'customization: {extraKernelArgs: 3}\n', /line 1/],
    ['no YAML', 'a: [\n', /line 2/],
    ['nothing', '', /no document/],
  ])('%s: 400 in plain text', async (_what, body, message) => {
    const response = await post((await serve()).url, body);
    expect(response.status).toBe(400);
    expect(response.headers.get('content-type')).toBe('text/plain; charset=utf-8');
    expect(await response.text()).toMatch(message);
  });

  test('more than a mebibyte: 413', async () => {
    expect((await post((await serve()).url, `# ${'x'.repeat(1024 * 1024)}`)).status).toBe(413);
  });

  test('one that is carried is no wish; JSON is YAML', async () => {
    const server = await serve();
    const response = await post(server.url, '{"customization": {"extraKernelArgs": []}}');
    expect([response.status, await response.json()]).toEqual([201, { id, schematic: plain }]);
    expect(server.wishes().wishes).toEqual([]);
  });

  test('one that is not carried is 201 too, is known from then on, and is a wish', async () => {
    const server = await serve();
    const made = schematicFrom(other).id;
    expect((await fetch(`${server.url}/schematics/${made}`)).status).toBe(404);
    expect((await post(server.url, other)).status).toBe(201);
    const got = await fetch(`${server.url}/schematics/${made}`);
    expect([got.headers.get('content-type'), await got.text()]).toEqual(['application/yaml', other]);
    expect(server.wishes().wishes).toMatchObject([{ kind: 'schematic', id: made, text: other, count: 1 }]);
  });

  test('one that is carried under another spelling is found under it', async () => {
    const input = 'customization: {secureboot: {enrollKeys: "off"}}\n';
    const [single, double] = schematicSpellings(schematicFrom(input).schematic);
    expect(double).toBeDefined();
    const carried = await putSchematic(layout, double?.canonical ?? '');
    expect(carried).not.toBe(single?.id);
    const server = await serve();
    expect(await (await post(server.url, input)).json()).toEqual({
      id: carried,
      schematic: double?.canonical,
    });
    expect(server.wishes().wishes).toEqual([]);
  });
});

describe('GET /schematics/:id', () => {
  test('the canonical text', async () => {
    const { url } = await serve();
    expect(await answer(await fetch(`${url}/schematics/${id}`))).toEqual([200, plain]);
    expect(await answer(await fetch(`${url}/schematics/${'0'.repeat(64)}`))).toEqual([
      404,
      'schematic not found\n',
    ]);
    expect((await fetch(`${url}/schematics/x`)).status).toBe(404);
  });
});

describe('/image', () => {
  test('GET and HEAD, with and without the v, ranges, conditions', async () => {
    const { url } = await serve();
    for (const version of [v, '1.13.9']) {
      const path = `${url}/image/${id}/${version}/metal-amd64.iso`;
      const got = await fetch(path);
      expect(await answer(got)).toEqual([200, 'iso bytes']);
      expect(Object.fromEntries(got.headers)).toMatchObject({
        'content-type': 'application/x-iso9660-image',
        'content-disposition': 'attachment; filename="metal-amd64.iso"',
        'content-length': '9',
        'accept-ranges': 'bytes',
        server: 'Image Factory omni-airgap',
      });
      const head = await fetch(path, { method: 'HEAD' });
      expect([head.status, head.headers.get('content-length'), await head.text()]).toEqual([200, '9', '']);
      const part = await fetch(path, { headers: { range: 'bytes=4-' } });
      expect([part.status, part.headers.get('content-range'), await part.text()]).toEqual([
        206,
        'bytes 4-8/9',
        'bytes',
      ]);
      const etag = got.headers.get('etag') ?? '';
      expect((await fetch(path, { headers: { 'if-none-match': etag } })).status).toBe(304);
    }
  });

  test.each([
    ['talos.iso', 'attachment; filename="talos.iso"'],
    ['a "b" \\c.iso', 'attachment; filename="a \\"b\\" \\\\c.iso"'],
    ['tälos.iso', `attachment; filename="t_los.iso"; filename*=UTF-8''t%C3%A4los.iso`],
  ])('?filename=%s', async (name, header) => {
    const { url } = await serve();
    const query = new URLSearchParams({ filename: name });
    const response = await fetch(`${url}/image/${id}/${v}/metal-amd64.iso?${query}`, { method: 'HEAD' });
    expect(response.headers.get('content-disposition')).toBe(header);
  });

  test.each(['%0d%0aX-Evil:%201', 'a%00b', 'x%0a', '%ff%fe%0d', 'a'.repeat(300)])(
    'T38 serve.header.inject: ?filename=%s never makes a header',
    async (filename) => {
      const { url } = await serve();
      const response = await fetch(`${url}/image/${id}/${v}/metal-amd64.iso?filename=${filename}`);
      expect(response.status).toBe(400);
      expect(response.headers.get('x-evil')).toBe(null);
    },
  );

  test.each(['.sha256', '.sha512', '.sigstore.json'])('%s is 402, known or not', async (suffix) => {
    const { url } = await serve();
    const response = await fetch(`${url}/image/${'1'.repeat(64)}/${v}/metal-amd64.iso${suffix}`);
    expect(await answer(response)).toEqual([402, expect.stringMatching(/^enterprise .*not enabled: .*\n$/)]);
  });

  test('an unknown schematic is 404, a malformed version or name 400', async () => {
    const { url } = await serve();
    const unknown = 'f'.repeat(64);
    expect(await answer(await fetch(`${url}/image/${unknown}/${v}/metal-amd64.iso`))).toEqual([
      404,
      `schematic ID "${unknown}" not found\n`,
    ]);
    expect((await fetch(`${url}/image/${id}/latest/metal-amd64.iso`)).status).toBe(400);
    expect(await answer(await fetch(`${url}/image/${id}/${v}/passwd`))).toEqual([
      400,
      'error parsing profile from path: invalid profile path: "passwd"\n',
    ]);
  });

  test('of a known schematic the kernel is served and the command line composed, and nothing else', async () => {
    const server = await serve();
    const { url } = server;
    const made = schematicFrom(other).id;
    await post(url, other);
    const base = `${url}/image/${made}/${v}`;
    expect(await answer(await fetch(`${base}/kernel-amd64`))).toEqual([200, 'kernel bytes']);
    expect(await answer(await fetch(`${base}/cmdline-metal-amd64`))).toEqual([
      200,
      `${cmdline} siderolink.api=grpc://omni:8090 net.ifnames=0`,
    ]);
    for (const file of [
      'initramfs-amd64.xz',
      'metal-amd64.iso',
      'metal-amd64-secureboot-uki.efi',
      'metal-amd64.raw.zst',
    ]) {
      expect(await answer(await fetch(`${base}/${file}`))).toEqual([
        404,
        expect.stringContaining(
          `${file} of Talos ${v} with schematic ${made} is not carried here; the wish was recorded`,
        ),
      ]);
    }
    expect((await fetch(`${base}/kernel-arm64`)).status).toBe(404);
    const files = server.wishes().wishes.flatMap((wish) => (wish.kind === 'media' ? [wish.file] : []));
    expect(files).toEqual([
      'initramfs-amd64.xz',
      'metal-amd64.iso',
      'metal-amd64-secureboot-uki.efi',
      'metal-amd64.raw.zst',
      'kernel-arm64',
    ]);
  });

  test('x86_64, as iPXE says it', async () => {
    const { url } = await serve();
    expect((await fetch(`${url}/image/${id}/${v}/kernel-x86_64`)).status).toBe(200);
  });
});

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

  test('of a version that is not here: 404 and a wish', async () => {
    const server = await serve();
    expect((await fetch(`${server.url}/version/v1.99.0/extensions/official`)).status).toBe(404);
    expect((await fetch(`${server.url}/talosctl/v1.99.0/talosctl-linux-amd64`)).status).toBe(404);
    expect(server.wishes().wishes).toMatchObject([
      { kind: 'version', version: 'v1.99.0' },
      { kind: 'talosctl', version: 'v1.99.0', file: 'talosctl-linux-amd64' },
    ]);
  });
});

describe('/pxe', () => {
  const script = (base: string, schematic: string, extra = ''): string =>
    `#!ipxe\n\nimgfree\nkernel ${base}/image/${schematic}/${v}/kernel-amd64 ${cmdline}${extra}\ninitrd ${base}/image/${schematic}/${v}/initramfs-amd64.xz\nboot\n`;

  test('a script with the address the client asked', async () => {
    const { url } = await serve();
    for (const target of ['metal-amd64', 'metal-x86_64']) {
      expect(await answer(await fetch(`${url}/pxe/${id}/1.13.9/${target}`))).toEqual([200, script(url, id)]);
    }
  });

  test('with the external URL; SecureBoot boots the UKI', async () => {
    const base = 'http://pxe.example:8080';
    const { url } = await start({ source: layout, externalUrl: `${base}/` });
    expect((await answer(await fetch(`${url}/pxe/${id}/${v}/metal-amd64`)))[1]).toBe(script(base, id));
    expect((await answer(await fetch(`${url}/pxe/${id}/${v}/metal-amd64-secureboot`)))[1]).toBe(
      `#!ipxe\n\nimgfree\nkernel ${base}/image/${id}/${v}/metal-amd64-secureboot-uki.efi ${cmdline} lockdown=confidentiality\nboot\n`,
    );
  });

  test('the kernel of another schematic does; its initramfs never', async () => {
    const made = await putSchematic(layout, other);
    await putFiles(layout, `factory.talos.dev/talos-media/${made}:${v}`, { 'initramfs-amd64.xz': 'own' });
    const { url } = await serve();
    const extra = ' siderolink.api=grpc://omni:8090 net.ifnames=0';
    expect(await answer(await fetch(`${url}/pxe/${made}/${v}/metal-amd64`))).toEqual([
      200,
      script(url, made, extra),
    ]);
    const third = 'customization:\n    extraKernelArgs:\n        - a=b\n';
    const { id: thirdId } = (await (await post(url, third)).json()) as { id: string };
    const refused = await answer(await fetch(`${url}/pxe/${thirdId}/${v}/metal-amd64`));
    expect(refused).toEqual([404, expect.stringContaining('initramfs-amd64.xz')]);
  });

  test('T38: a Host header that is no host is not repeated', async () => {
    const server = await serve();
    const { request } = await import('node:http');
    const body = await new Promise<string>((resolve, reject) => {
      const sent = request(
        `${server.url}/pxe/${id}/${v}/metal-amd64`,
        { headers: { host: 'evil/$(x)' } },
        (response) => {
          let text = '';
          response.on('data', (chunk) => {
            text += chunk;
          });
          response.on('end', () => resolve(text));
        },
      );
      sent.on('error', reject).end();
    });
    expect(body).toBe(script(server.url, id));
  });

  test.each([
    ['latest', 'metal-amd64', 400],
    [v, 'metal', 400],
    [v, 'metal-riscv64', 400],
    [v, 'aws-amd64', 404],
  ])('%s/%s: %i', async (version, target, status) => {
    expect((await fetch(`${(await serve()).url}/pxe/${id}/${version}/${target}`)).status).toBe(status);
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
    expect(await digest(`factory.talos.dev/metal-installer/${id}/manifests/${v}`)).toBe(newest);
    const tags = (await (await fetch(`${server.url}/v2/installer/${id}/tags/list`)).json()) as {
      tags: string[];
    };
    expect(tags.tags).toHaveLength(3);
    expect((await fetch(`${server.url}/v2/installer-secureboot/${id}/manifests/${v}`)).status).toBe(404);
    expect(server.wishes().wishes).toMatchObject([
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

  test('a wrong method is 405 in plain text', async () => {
    const { url } = await serve();
    const response = await fetch(`${url}/versions`, { method: 'POST', body: 'x' });
    expect([response.status, response.headers.get('allow'), await response.text()]).toEqual([
      405,
      'GET, HEAD',
      'Method Not Allowed\n',
    ]);
  });
});

test('media that are damaged end in a cut connection, the rest is served', async () => {
  const files = await putFiles(layout, `factory.talos.dev/talos-media/${id}:v1.13.8`, {
    'metal-amd64.iso': 'x'.repeat(100),
  });
  const digest = files.get('metal-amd64.iso')?.digest;
  const { chmod, writeFile } = await import('node:fs/promises');
  const path = digest === undefined ? '' : layout.pathOf(digest);
  await chmod(path, 0o644);
  await writeFile(path, 'y'.repeat(100));
  const { url } = await serve();
  await expect(fetch(`${url}/image/${id}/v1.13.8/metal-amd64.iso`).then((r) => r.bytes())).rejects.toThrow();
  expect((await fetch(`${url}/image/${id}/${v}/metal-amd64.iso`)).status).toBe(200);
});

test('what is pushed here counts at once', async () => {
  const writable = await newLayout();
  const server = await start({ source: layout, writable });
  const { url } = server;
  const blob = Buffer.from('arm64 kernel');
  const config = Buffer.from('{}');
  const digests: string[] = [];
  const { digestOf } = await import('@omni-airgap/content');
  for (const bytes of [blob, config]) {
    digests.push(digestOf(bytes));
    const done = await fetch(`${url}/v2/talos-media/${id}/blobs/uploads/?digest=${digestOf(bytes)}`, {
      method: 'POST',
      body: bytes,
    });
    expect(done.status).toBe(201);
  }
  const mediaType = 'application/vnd.oci.image.manifest.v1+json';
  const manifest = JSON.stringify({
    schemaVersion: 2,
    mediaType,
    config: { mediaType: 'application/vnd.oci.empty.v1+json', digest: digests[1], size: 2 },
    layers: [
      {
        mediaType: 'application/octet-stream',
        digest: digests[0],
        size: blob.byteLength,
        annotations: { 'org.opencontainers.image.title': 'kernel-arm64' },
      },
    ],
  });
  const put = await fetch(`${url}/v2/talos-media/${id}/manifests/v1.15.0`, {
    method: 'PUT',
    body: manifest,
    headers: { 'content-type': mediaType },
  });
  expect(put.status).toBe(201);
  expect(await answer(await fetch(`${url}/image/${id}/v1.15.0/kernel-arm64`))).toEqual([200, 'arm64 kernel']);
  expect(await (await fetch(`${url}/versions`)).json()).toContain('v1.15.0');
});
