/** A replica over registry and bucket answers as a server with the bundle does. */
import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { cmdline, plain, post, v } from './carried.ts';
import { asked, putObject, replicaSite } from './replica-support.ts';
import { codeOf, nowhere, putImage, start } from './support.ts';

const sha256 = (bytes: string | Buffer): string =>
  `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

const paths = [
  '/v2/',
  `/v2/metal-installer/ID/manifests/${v}`,
  `/v2/factory.talos.dev/metal-installer/ID/manifests/${v}`,
  `/v2/installer/ID/manifests/${v}?ns=factory.talos.dev`,
  '/v2/metal-installer/ID/manifests/latest',
  '/v2/metal-installer/ID/manifests/v0.0.1',
  '/v2/nobody/has/this/manifests/v1',
  `/v2/metal-installer/ID/manifests/${nowhere}`,
  `/v2/metal-installer/ID/blobs/${nowhere}`,
  `/v2/metal-installer/ID/blobs/${sha256('installer')}`,
  '/v2/metal-installer/ID/tags/list',
  '/v2/metal-installer/ID/tags/list?n=1',
  `/v2/metal-installer/ID/referrers/${nowhere}`,
  '/versions',
  '/schematics/ID',
  `/image/ID/${v}/metal-amd64.iso`,
  `/image/ID/${v}/kernel-amd64`,
  `/image/ID/${v}/aws-amd64.raw.xz`,
  `/pxe/ID/${v}/metal-amd64`,
  `/pxe/ID/${v}/metal-amd64-secureboot`,
  `/talosctl/${v}`,
  `/talosctl/${v}/talosctl-linux-amd64`,
  `/talosctl/${v}/talosctl-darwin-arm64`,
  `/version/${v}/extensions/official`,
  `/version/${v}/overlays/official`,
  '/oci/cosign/signing-key.pub',
  '/secureboot/signing-cert.pem',
];

describe.each([
  { prefix: '', keepHost: false },
  { prefix: 'team/mirror', keepHost: false },
  { prefix: '', keepHost: true },
  { prefix: 'team', keepHost: true },
])('prefix "$prefix", hosts kept: $keepHost', (place) => {
  test('GET and HEAD are those of a bundle', async () => {
    const site = await replicaSite(place);
    const replica = await site.replica({}, { externalUrl: 'http://factory.site' });
    const bundle = await start({ source: site.layout, externalUrl: 'http://factory.site' });
    const answerOf = async (url: string, method: string): Promise<object> => {
      const response = await fetch(url, { method });
      const { status } = response;
      const headers = Object.fromEntries(
        [...response.headers].filter(([name]) => !['date', 'x-request-id'].includes(name)),
      );
      const body = await response.text();
      // What is no repository for one is a repository without the content for the other.
      return status === 404 ? { status } : { status, headers, body };
    };
    for (const path of paths) {
      for (const method of ['GET', 'HEAD']) {
        const [one, other] = await Promise.all(
          [replica, bundle].map(({ url }) => answerOf(`${url}${path.replaceAll('ID', site.id)}`, method)),
        );
        expect(one, `${method} ${path}`).toEqual(other);
      }
    }
  });
});

test('a registry without a bucket serves boot assets too', async () => {
  const site = await replicaSite({ hasBucket: false });
  const { url } = await site.replica();
  const iso = await fetch(`${url}/image/${site.id}/${v}/metal-amd64.iso`);
  expect([iso.status, await iso.text()]).toEqual([200, 'iso bytes']);
  const script = await (await fetch(`${url}/pxe/${site.id}/${v}/metal-amd64`)).text();
  expect(script).toContain(cmdline);
  expect(await (await fetch(`${url}/schematics/${site.id}`)).text()).toBe(plain);
  expect(await (await fetch(`${url}/versions`)).json()).toEqual(['v1.12.10', v, 'v1.14.0-rc.1']);
});

test('the kernel of any schematic, and a composed command line, as of a bundle', async () => {
  const site = await replicaSite();
  const { url } = await site.replica();
  const { id } = (await (await post(url, 'customization:\n  extraKernelArgs: [net.ifnames=0]\n')).json()) as {
    id: string;
  };
  expect(await (await fetch(`${url}/image/${id}/${v}/kernel-amd64`)).text()).toBe('kernel bytes');
  expect(await (await fetch(`${url}/image/${id}/${v}/cmdline-metal-amd64`)).text()).toBe(
    `${cmdline} net.ifnames=0`,
  );
});

describe('ranges and conditions', () => {
  test.each([
    ['bytes=2-4', 206, 'bytes 2-4/9'],
    ['bytes=4-', 206, 'bytes 4-8/9'],
    ['bytes=-3', 206, 'bytes 6-8/9'],
    ['bytes=0-0', 206, 'bytes 0-0/9'],
    ['bytes=9-', 416, 'bytes */9'],
    ['bytes=0-1,3-4', 200, null],
  ])('%s of a blob and of a boot asset', async (range, status, contentRange) => {
    const site = await replicaSite();
    const { url } = await site.replica();
    for (const [path, content] of [
      [`/v2/metal-installer/${site.id}/blobs/${sha256('installer')}`, 'installer'],
      [`/image/${site.id}/${v}/metal-amd64.iso`, 'iso bytes'],
    ]) {
      const response = await fetch(`${url}${path}`, { headers: { range } });
      expect([response.status, response.headers.get('content-range')]).toEqual([status, contentRange]);
      const [, first = '0', last = '8'] = /bytes (\d+)-(\d+)/.exec(contentRange ?? '') ?? [];
      if (status !== 416) expect(await response.text()).toBe(content?.slice(Number(first), Number(last) + 1));
    }
    // What is asked for is what is fetched.
    if (status === 206) {
      expect(site.registry.requests.findLast(({ path }) => path.includes('/blobs/'))?.headers['range']).toBe(
        /bytes (.*)\/9/.exec(contentRange ?? '')?.[1] === '4-8' || range === 'bytes=-3'
          ? range.replace('-3', '6-')
          : range,
      );
    }
  });

  test('If-Range with another ETag gives all of it; If-None-Match asks the source for no bytes', async () => {
    const site = await replicaSite();
    const { url } = await site.replica();
    const blob = `${url}/v2/metal-installer/${site.id}/blobs/${sha256('installer')}`;
    const other = await fetch(blob, { headers: { range: 'bytes=2-4', 'if-range': '"other"' } });
    expect([other.status, await other.text()]).toEqual([200, 'installer']);
    const same = { range: 'bytes=2-4', 'if-range': `"${sha256('installer')}"` };
    expect((await fetch(blob, { headers: same })).status).toBe(206);
    const before = asked(site.registry, 'GET', /blobs/);
    const unchanged = await fetch(blob, { headers: { 'if-none-match': `"${sha256('installer')}"` } });
    expect([unchanged.status, asked(site.registry, 'GET', /blobs/)]).toEqual([304, before]);
  });

  test('an object that is replaced while it is served is never mixed', async () => {
    const site = await replicaSite();
    const { url } = await site.replica();
    const iso = `${url}/image/${site.id}/${v}/metal-amd64.iso`;
    expect(await (await fetch(iso)).text()).toBe('iso bytes');
    putObject(site.bucket, `image/${site.id}/${v}/metal-amd64.iso`, Buffer.from('new iso bytes'));
    expect((await fetch(iso)).status).toBe(502);
    expect(await (await fetch(iso)).text()).toBe('new iso bytes');
  });
});

test('referrers of a subject, by the API of the registry and by the fallback tag', async () => {
  for (const referrersApi of [true, false]) {
    const site = await replicaSite({ registry: { referrersApi } });
    const subject = await putImage(site.layout, undefined, Buffer.from('subject'));
    const signature = await putImage(site.layout, undefined, Buffer.from('sig'), {
      subject: subject.manifest,
      artifactType: 'application/vnd.example.sig',
    });
    const repository = site.registry.repository('app/one');
    repository.addManifest(subject.bytes, subject.manifest.mediaType, 'v1');
    repository.addManifest(signature.bytes, signature.manifest.mediaType);
    if (!referrersApi) {
      const index = { schemaVersion: 2, mediaType: 'application/vnd.oci.image.index.v1+json' };
      const bytes = Buffer.from(JSON.stringify({ ...index, manifests: [signature.manifest] }));
      repository.addManifest(bytes, index.mediaType, subject.manifest.digest.replace(':', '-'));
    }
    const { url } = await site.replica();
    const list = await fetch(`${url}/v2/app/one/referrers/${subject.manifest.digest}`);
    expect(await list.json()).toMatchObject({ manifests: [{ digest: signature.manifest.digest }] });
  }
});

test('_catalog lists what is below the prefix, under the names that clients use', async () => {
  const site = await replicaSite({ prefix: 'team' });
  site.registry.repository('other/app').addBlob(Buffer.from('x'));
  site.registry.repository('team/omni-airgap/state').addBlob(Buffer.from('x'));
  const { url } = await site.replica();
  const response = await fetch(`${url}/v2/_catalog`);
  const { repositories } = (await response.json()) as { repositories: string[] };
  expect(repositories).toContain(`metal-installer/${site.id}`);
  expect(repositories.filter((name) => /other|omni-airgap|team/.test(name))).toEqual([]);
});

test('what load and replicas keep for themselves is nobody’s to pull', async () => {
  const site = await replicaSite();
  site.registry.repository('omni-airgap/state').addBlob(Buffer.from('x'));
  const { url } = await site.replica();
  expect((await fetch(`${url}/v2/omni-airgap/state/blobs/${sha256('x')}`)).status).toBe(404);
  expect((await fetch(`${url}/v2/omni-airgap/state/tags/list`)).status).toBe(404);
});

describe('writing', () => {
  test.each([
    ['POST', '/v2/app/blobs/uploads/'],
    ['PUT', '/v2/app/manifests/v1'],
    ['PATCH', '/v2/app/blobs/uploads/x'],
    ['DELETE', `/v2/app/manifests/${nowhere}`],
    ['DELETE', `/v2/app/blobs/${nowhere}`],
  ])('%s %s is 405 and names the registry', async (method, path) => {
    const site = await replicaSite({ prefix: 'team' });
    const { url } = await site.replica();
    const response = await fetch(`${url}${path}`, { method, ...(method === 'DELETE' ? {} : { body: 'x' }) });
    expect(response.status).toBe(405);
    const { errors } = (await response.json()) as { errors: { code: string; message: string }[] };
    expect(errors[0]?.code).toBe('UNSUPPORTED');
    expect(errors[0]?.message).toContain(`push to ${site.registry.host}/team`);
  });
});

describe('upstream', () => {
  test('a registry and a bucket that are down: it starts, says so, and serves when they are back', async () => {
    const site = await replicaSite();
    site.registry.fault({ match: { path: /./ }, do: { drop: true }, times: 1000 });
    site.bucket.fault = () => 'drop';
    const { url } = await site.replica();
    const manifest = `${url}/v2/metal-installer/${site.id}/manifests/${v}`;
    const answer = await fetch(manifest);
    expect([answer.status, answer.headers.has('retry-after'), await codeOf(answer)]).toEqual([
      503,
      true,
      'UNKNOWN',
    ]);
    expect((await fetch(`${url}/image/${site.id}/${v}/metal-amd64.iso`)).status).toBe(503);
    expect((await fetch(`${url}/readyz`)).status).toBe(503);
    const health = await fetch(`${url}/healthz`);
    expect(health.status).toBe(503);
    expect(await health.json()).toMatchObject({
      status: 'unreachable',
      targets: [
        { name: 'registry', ok: false },
        { name: 'object store', ok: false },
      ],
    });
    expect(site.problems.join('\n')).toContain('registry ');
  });

  test.each([
    [401, 502],
    [403, 502],
    [500, 502],
    [503, 502],
    [429, 429],
  ])('an answer %i of the registry is %i for the client, without its words', async (theirs, ours) => {
    const site = await replicaSite();
    const secret = 'token=abc';
    site.registry.fault({ match: { path: /manifests/ }, do: { status: theirs, body: secret } });
    const { url } = await site.replica();
    const answer = await fetch(`${url}/v2/metal-installer/${site.id}/manifests/${v}`);
    expect(answer.status).toBe(ours);
    expect(await answer.text()).not.toContain(secret);
  });
});
