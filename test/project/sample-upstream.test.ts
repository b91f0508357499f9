/** The sample upstream behaves as the hosts it stands for, where that decides whether a fetch works. */
import { execFileSync } from 'node:child_process';
import { createHash, createPublicKey, verify, X509Certificate } from 'node:crypto';
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import type { SeenRequest } from '../../scripts/sample-upstream/host.ts';
import {
  type SampleUpstream,
  type SampleUpstreamOptions,
  startSampleUpstream,
} from '../../scripts/sample-upstream/sample-upstream.ts';

const emptyId = '376567988ad370138ad8b2698212367b8edcb69b5fd68c80be1f2ec7d603b4ba';
const omni = '/v2/siderolabs/omni';
const seen: SeenRequest[] = [];
let dir: string;
let upstream: SampleUpstream;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'sample-upstream-'));
  upstream = await startSampleUpstream({ dir, sizeMiB: 3, buildMs: 300, onRequest: (one) => seen.push(one) });
});
afterAll(async () => {
  await upstream.stop();
  await rm(dir, { recursive: true, force: true });
});

/** Another one over the same content, with other times. */
async function another(options: Partial<SampleUpstreamOptions>): Promise<SampleUpstream> {
  const started = await startSampleUpstream({ dir, sizeMiB: 3, ...options });
  onTestFinished(() => started.stop());
  return started;
}

/** A request to a host of the upstream; redirects are not followed. */
function ask(path: string, init: RequestInit = {}, host = 'ghcr.io', from = upstream): Promise<Response> {
  return fetch(`${from.urls[host]}${path}`, { redirect: 'manual', ...init });
}

/** Goes where a redirect points, by the map of hosts. */
function follow(response: Response, init: RequestInit = {}, from = upstream): Promise<Response> {
  const { protocol, host, pathname, search } = new URL(response.headers.get('location') ?? '');
  expect(protocol).toBe('https:');
  return ask(`${pathname}${search}`, init, host, from);
}

async function bearer(scope = 'repository:siderolabs/omni:pull', from = upstream) {
  const response = await ask(`/token?service=ghcr.io&scope=${scope}`, {}, 'ghcr.io', from);
  const { token } = (await response.json()) as { token: string };
  return { Authorization: `Bearer ${token}` };
}

interface Manifest {
  readonly manifests?: { readonly digest: string; readonly platform: { readonly architecture: string } }[];
  readonly layers?: {
    readonly digest: string;
    readonly size: number;
    readonly annotations?: Record<string, string>;
  }[];
}

async function manifest(path: string, headers: Record<string, string>): Promise<Manifest> {
  return (await (await ask(path, { headers })).json()) as Manifest;
}

const sha256 = (bytes: Uint8Array): string => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

describe('ghcr.io', () => {
  test('asks for a token of the scope, gives opaque ones, and takes no other', async () => {
    const refused = await ask(`${omni}/manifests/v1.10.4`);
    expect(refused.status).toBe(401);
    expect(refused.headers.get('www-authenticate')).toBe(
      'Bearer realm="https://ghcr.io/token",service="ghcr.io",scope="repository:siderolabs/omni:pull"',
    );
    const headers = await bearer();
    expect((await ask(`${omni}/manifests/v1.10.4`, { headers })).status).toBe(200);
    expect(await bearer()).not.toEqual(headers);
    const other = await bearer('repository:siderolabs/kubelet:pull');
    expect((await ask(`${omni}/manifests/v1.10.4`, { headers: other })).status).toBe(401);
    const { digest } = (await manifest(`${omni}/manifests/v1.10.4`, headers)).manifests?.[0] ?? {};
    expect((await ask(`${omni}/blobs/${digest}`)).status).toBe(401);
  });

  test('a token runs out', async () => {
    const short = await another({ tokenMs: 30 });
    const headers = await bearer(undefined, short);
    await expect.poll(async () => (await ask('/v2/', { headers }, 'ghcr.io', short)).status).toBe(401);
  });

  test('redirects blobs to storage, which checks its signature and refuses credentials', async () => {
    const headers = await bearer();
    const index = await manifest(`${omni}/manifests/v1.10.4`, headers);
    expect(index.manifests?.map(({ platform }) => platform.architecture)).toEqual(['amd64', 'arm64']);
    const image = await manifest(`${omni}/manifests/${index.manifests?.[0]?.digest}`, headers);
    for (const { digest, size } of image.layers ?? []) {
      const redirect = await ask(`${omni}/blobs/${digest}`, { headers });
      expect(redirect.status).toBe(307);
      const bytes = await (await follow(redirect)).bytes();
      expect([bytes.byteLength, sha256(bytes)]).toEqual([size, digest]);
    }
    const redirect = await ask(`${omni}/blobs/${image.layers?.[0]?.digest}`, { headers });
    expect((await follow(redirect, { headers })).status).toBe(400);
    const part = await follow(redirect, { headers: { Range: 'bytes=2-5' } });
    expect([part.status, (await part.bytes()).byteLength]).toEqual([206, 4]);
    const location = redirect.headers.get('location') ?? '';
    const { pathname, search } = new URL(location.replace(/sig=./, 'sig=x'));
    expect((await ask(pathname + search, {}, 'pkg-containers.githubusercontent.com')).status).toBe(403);
    const short = await another({ urlMs: -1 });
    const expired = await ask(
      new URL(location).pathname.replace('/ghcr1/', `${omni}/`),
      {
        headers: await bearer(undefined, short),
      },
      'ghcr.io',
      short,
    );
    expect((await follow(expired, {}, short)).status).toBe(403);
  });

  test('has no referrers endpoint', async () => {
    const path = `${omni}/referrers/sha256:${'0'.repeat(64)}`;
    expect((await ask(path, { headers: await bearer() })).status).toBe(404);
  });

  test('images are signed as cosign does it', async () => {
    const headers = await bearer();
    const head = await ask(`${omni}/manifests/v1.10.4`, { headers, method: 'HEAD' });
    const digest = head.headers.get('docker-content-digest') ?? '';
    const { layers } = await manifest(`${omni}/manifests/${digest.replace(':', '-')}.sig`, headers);
    const [layer] = layers ?? [];
    const payload = await (await follow(await ask(`${omni}/blobs/${layer?.digest}`, { headers }))).bytes();
    expect(JSON.parse(Buffer.from(payload).toString())).toMatchObject({
      critical: {
        identity: { 'docker-reference': 'ghcr.io/siderolabs/omni' },
        image: { 'docker-manifest-digest': digest },
      },
    });
    const signature = Buffer.from(layer?.annotations?.['dev.cosignproject.cosign/signature'] ?? '', 'base64');
    expect(verify('sha256', payload, createPublicKey(upstream.publisherKey), signature)).toBe(true);
  });

  test('imager and talosctl-all have the files that an Image Factory reads, of both architectures', async () => {
    const parts = ['vmlinuz', 'initramfs.xz', 'systemd-boot.efi', 'systemd-stub.efi'];
    const expected: Readonly<Record<string, readonly string[]>> = {
      imager: ['amd64', 'arm64'].flatMap((arch) => parts.map((name) => `usr/install/${arch}/${name}`)),
      'talosctl-all': ['linux-amd64', 'linux-arm64', 'darwin-arm64'].map((name) => `talosctl-${name}`),
    };
    for (const [name, paths] of Object.entries(expected)) {
      const repository = `/v2/siderolabs/${name}`;
      const headers = await bearer(`repository:siderolabs/${name}:pull`);
      const index = await manifest(`${repository}/manifests/v1.13.9`, headers);
      const image = await manifest(`${repository}/manifests/${index.manifests?.[0]?.digest}`, headers);
      const layer = image.layers?.at(-1)?.digest;
      const input = await (await follow(await ask(`${repository}/blobs/${layer}`, { headers }))).bytes();
      const files = execFileSync('tar', ['-tz'], { input, encoding: 'utf8' }).split('\n');
      expect(files).toEqual(expect.arrayContaining([...paths]));
    }
  });

  test('every request is reported with what it carried', () => {
    expect(seen).toContainEqual(
      expect.objectContaining({
        host: 'pkg-containers.githubusercontent.com',
        authorized: true,
        status: 400,
      }),
    );
  });
});

describe('factory.talos.dev', () => {
  const factory = (path: string, init?: RequestInit, from = upstream) =>
    ask(path, init, 'factory.talos.dev', from);
  const post = (body: string) => factory('/schematics', { method: 'POST', body });

  test('answers schematics with their canonical text and ID, errors in plain text', async () => {
    const created = await post('{"customization": {"extraKernelArgs": ["noapic", "nolapic"]}}');
    const { id, schematic } = (await created.json()) as { id: string; schematic: string };
    expect([created.status, id]).toEqual([
      201,
      '9cba8e32753f91a16c1837ab8abf356af021706ef284aef07380780177d9a06c',
    ]);
    const found = await factory(`/schematics/${id}`);
    expect([found.headers.get('content-type'), await found.text()]).toEqual(['application/yaml', schematic]);
    const bad = await post('customisation: {}');
    expect([bad.status, (await bad.text()).endsWith('\n')]).toEqual([400, true]);
    const missing = await factory(`/schematics/${'0'.repeat(64)}`, { headers: { 'X-Request-ID': 'mine' } });
    expect([missing.status, missing.headers.get('x-request-id')]).toEqual([404, 'mine']);
    expect(missing.headers.get('server')).toMatch(/^Image Factory v/);
  });

  test('builds a medium once, answers HEAD itself and redirects GET to signed storage', async () => {
    const path = `/image/${emptyId}/1.13.9/initramfs-arm64.xz`;
    const timed = async (): Promise<[Response, number]> => {
      const started = performance.now();
      return [await factory(path, { method: 'HEAD' }), performance.now() - started];
    };
    const [head, first] = await timed();
    let later = Number.POSITIVE_INFINITY;
    for (let i = 0; i < 5; i++) later = Math.min(later, (await timed())[1]);
    expect(later).toBeLessThan(first);
    expect(head.headers.get('content-type')).toBe('application/x-xz');
    expect(head.headers.get('content-disposition')).toBe('attachment; filename="initramfs-arm64.xz"');
    const redirect = await factory(`${path}?filename=other.xz`);
    expect(redirect.status).toBe(302);
    const file = await follow(redirect);
    expect(file.headers.get('content-disposition')).toBe('attachment; filename="other.xz"');
    expect((await file.bytes()).byteLength).toBe(Number(head.headers.get('content-length')));
    expect((await follow(redirect, { headers: { Authorization: 'Basic eA==' } })).status).toBe(400);
    const { host, pathname, search } = new URL(redirect.headers.get('location') ?? '');
    expect((await ask(pathname + search.replace(/Signature=./, 'Signature=x'), {}, host)).status).toBe(403);
  });

  test('the kernel is the same for every schematic, everything else is its own', async () => {
    const { id } = (await (await post('customization: {extraKernelArgs: [quiet]}')).json()) as { id: string };
    const get = async (schematic: string, file: string): Promise<Uint8Array> =>
      (await follow(await factory(`/image/${schematic}/v1.13.9/${file}`))).bytes();
    for (const [file, same] of [
      ['kernel-amd64', true],
      ['initramfs-amd64.xz', false],
      ['metal-amd64.iso', false],
      ['cmdline-metal-amd64', false],
      ['metal-amd64.raw.zst', false],
    ] as const) {
      const [one, two] = [await get(emptyId, file), await get(id, file)];
      expect(sha256(one) === sha256(two), file).toBe(same);
    }
    expect(Buffer.from(await get(id, 'cmdline-metal-amd64')).toString()).toMatch(
      /^talos\.platform=metal .* quiet$/,
    );
    const iso = Buffer.from(await get(id, 'metal-amd64.iso'));
    expect(iso.toString('latin1', 32_769, 32_774)).toBe('CD001');
    expect(iso.byteLength).toBe(iso.readUInt32LE(32_768 + 80) * 2048);
  });

  test.each([
    [`/image/${emptyId}/v1.13.9/metal-amd64.iso.sha256`, 402],
    [`/image/${emptyId}/v1.13.9/metal-amd64.iso.sigstore.json`, 402],
    [`/image/${emptyId}/v1.13.9/nonsense`, 400],
    [`/image/${emptyId}/v1.0.0/kernel-amd64`, 404],
    [`/image/${'0'.repeat(64)}/v1.13.9/kernel-amd64`, 404],
    ['/nothing', 404],
  ])('%s is %i in plain text', async (path, status) => {
    const response = await factory(path);
    expect([response.status, response.headers.get('content-type')]).toEqual([
      status,
      'text/plain; charset=utf-8',
    ]);
  });

  test('lists what Omni asks for, and the digests are those of the registry', async () => {
    expect(await (await factory('/versions')).json()).toEqual(['v1.13.9']);
    const [extension] = (await (await factory('/version/v1.13.9/extensions/official')).json()) as {
      name: string;
      digest: string;
    }[];
    const headers = await bearer(`repository:${extension?.name}:pull`);
    expect((await ask(`/v2/${extension?.name}/manifests/${extension?.digest}`, { headers })).status).toBe(
      200,
    );
    const [talosctl = ''] = (await (await factory('/talosctl/v1.13.9')).json()) as string[];
    const binary = await (await factory(new URL(talosctl).pathname)).bytes();
    expect(Buffer.from(binary.subarray(0, 4)).toString('latin1')).toBe('\x7fELF');
    const certificate = new X509Certificate(await (await factory('/secureboot/signing-cert.pem')).text());
    expect(certificate.verify(certificate.publicKey)).toBe(true);
    expect(await (await factory('/oci/cosign/signing-key.pub')).text()).toMatch(
      /^-----BEGIN PUBLIC KEY-----/,
    );
  });

  test('builds an installer for a schematic it knows, and serves it without a token', async () => {
    const { id } = (await (await post('customization: {extraKernelArgs: [debug]}')).json()) as { id: string };
    const repository = `/v2/metal-installer/${id}`;
    const index = (await (await factory(`${repository}/manifests/v1.13.9`)).json()) as Manifest;
    const image = (await (
      await factory(`${repository}/manifests/${index.manifests?.[1]?.digest}`)
    ).json()) as Manifest;
    const layer = await factory(`${repository}/blobs/${image.layers?.[0]?.digest}`);
    expect([layer.status, sha256(await layer.bytes())]).toEqual([200, image.layers?.[0]?.digest]);
    expect((await factory(`/v2/metal-installer/${'0'.repeat(64)}/manifests/v1.13.9`)).status).toBe(404);
  });
});

test('registry.k8s.io serves Docker manifests without a token', async () => {
  const response = await ask('/v2/kube-proxy/manifests/v1.36.1', {}, 'registry.k8s.io');
  expect([response.status, response.headers.get('content-type')]).toEqual([
    200,
    'application/vnd.docker.distribution.manifest.list.v2+json',
  ]);
});

test('the same seed gives the same content elsewhere, another seed other content, and what is there is kept', async () => {
  const index = (folder: string) => readFile(join(folder, 'registries', 'ghcr.io', 'index.json'), 'utf8');
  const { mtimeMs } = await stat(join(dir, 'sample.json'));
  for (const [seed, same] of [
    [1, true],
    [2, false],
  ] as const) {
    const other = await mkdtemp(join(tmpdir(), 'sample-upstream-'));
    onTestFinished(() => rm(other, { recursive: true, force: true }));
    await (await startSampleUpstream({ dir: other, sizeMiB: 3, seed })).stop();
    expect((await index(other)) === (await index(dir)), `seed ${seed}`).toBe(same);
  }
  await another({});
  expect((await stat(join(dir, 'sample.json'))).mtimeMs).toBe(mtimeMs);
});

test('stop ends every host', async () => {
  const started = await startSampleUpstream({ dir, sizeMiB: 3 });
  await started.stop();
  for (const url of Object.values(started.urls)) await expect(fetch(url)).rejects.toThrow();
  expect(started.upstreamFlags).toEqual(Object.entries(started.urls).map(([host, url]) => `${host}=${url}`));
});
