import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { readdir, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { startS3Double } from '@omni-airgap/objects/testing';
import { MediaType } from '@omni-airgap/oci/model';
import type { RegistryDoubleOptions } from '@omni-airgap/oci/testing';
import { factorySources, schematicFrom } from '@omni-airgap/talos';
import { describe, expect, onTestFinished, test } from 'vitest';
import { checkInside, type InsideCheck } from '../src/inside-check/check-inside.ts';
import { askTime } from '../src/inside-check/connect.ts';
import type { Finding } from '../src/inside-check/finding.ts';
import {
  addBlob,
  addImage,
  addSignature,
  bytesFor,
  loadInto,
  makeBundle,
  startDouble,
  temporary,
} from './support.ts';

const network = { upstreams: [], allowHosts: [], plainHttp: [] as string[], env: {} };

function states(findings: readonly Finding[]): Record<string, string> {
  return Object.fromEntries(findings.map(({ subject, what, state }) => [`${subject}: ${what}`, state]));
}

async function checkDouble(
  options: RegistryDoubleOptions,
  tags: readonly string[] = ['v1.36.1'],
  records: readonly string[] = ['loaded'],
) {
  const double = await startDouble(options);
  const state = double.repository('omni-airgap/state');
  for (const tag of records) state.tags.set(tag, `sha256:${'0'.repeat(64)}`);
  const kubelet = double.repository('siderolabs/kubelet');
  for (const tag of tags) kubelet.tags.set(tag, `sha256:${'0'.repeat(64)}`);
  const check: InsideCheck = {
    registry: { host: double.host, prefix: '' },
    site: {},
    network: { ...network, plainHttp: [double.host] },
  };
  const report = await checkInside(check);
  return { double, report, states: states(report.findings) };
}

test('--plain-http without a port is plain HTTP for what site.yaml says of the registry too', async () => {
  const double = await startDouble({});
  const { findings } = await checkInside({
    registry: { host: double.host, prefix: '' },
    site: { registry: { host: double.host, prefix: '', plainHttp: true, place: 'site.yaml:1' } },
    network: { ...network, plainHttp: [double.host.replace(/:[0-9]+$/, '')] },
  });
  expect(findings.filter(({ detail }) => detail?.includes('site.yaml'))).toEqual([]);
});

test('a registry that does everything', async () => {
  const { report, states: found, double } = await checkDouble({});
  expect(report.ok).toBe(true);
  expect(found).toEqual({
    'registry: answers': 'ok',
    'registry: push': 'ok',
    'registry: Docker schema 2': 'ok',
    'registry: large bodies': 'ok',
    'registry: referrers': 'ok',
    'registry: delete': 'ok',
    'registry: tags/list of kubelet': 'ok',
    'registry: installers without a log-in': 'ok',
  });
  expect(double.openUploads).toBe(0);
});

test('a registry that nothing was loaded into has no Kubernetes versions yet', async () => {
  const { report, states: found } = await checkDouble({}, [], []);
  expect(found['registry: tags/list of kubelet']).toBe('note');
  expect(report.ok).toBe(true);
});

test('a registry that deletes nothing is no obstacle, and it is said', async () => {
  const { report, states: found } = await checkDouble({
    script: [{ match: { method: 'DELETE', path: /manifests/ }, do: { status: 405 } }],
  });
  expect(found['registry: delete']).toBe('note');
  expect(report.ok).toBe(true);
});

test('F39 a proxy that limits bodies is noticed; load works around it', async () => {
  const { report, states: found } = await checkDouble({ maxBodyBytes: 40 * 1024 * 1024 });
  expect(found['registry: large bodies']).toBe('note');
  expect(report.ok).toBe(true);
});

test('no Kubernetes versions, no right to push, Docker types refused: each is said, all at once', async () => {
  const { report, states: found } = await checkDouble(
    { script: [{ match: { method: 'PUT', path: /manifests/ }, do: { status: 415 } }] },
    [],
  );
  expect(report.ok).toBe(false);
  expect(found).toMatchObject({
    'registry: answers': 'ok',
    'registry: push': 'failed',
    'registry: tags/list of kubelet': 'failed',
  });
});

test('an object store: written, read, deleted, in parts, with wrong bytes; nothing stays', async () => {
  const double = await startS3Double();
  const settings = {
    bucket: 'talos',
    prefix: '',
    endpoint: new URL(double.url),
    region: 'us-east-1',
    accessKeyId: 'key',
    secretAccessKey: 'secret',
  };
  const check: InsideCheck = {
    objectStore: { kind: 's3', settings },
    site: {},
    network: { ...network, plainHttp: [settings.endpoint.host] },
  };
  const { ok, findings } = await checkInside(check);
  expect(states(findings)).toEqual({
    'object store: clock': 'ok',
    'object store: write': 'ok',
    'object store: look up': 'ok',
    'object store: look up a missing object': 'ok',
    'object store: read': 'ok',
    'object store: begin an upload in parts': 'ok',
    'object store: list parts': 'ok',
    'object store: abort an upload': 'ok',
    'object store: list unfinished uploads': 'ok',
    'object store: copy': 'ok',
    'object store: wrong bytes': 'ok',
    'object store: delete': 'ok',
    'object store: large object': 'ok',
  });
  expect(ok).toBe(true);
  expect(double.requests.some(({ query }) => query.has('partNumber'))).toBe(true);
  expect([...double.objects.keys(), ...double.uploads.keys()]).toEqual([]);
  double.fault = ({ method }) =>
    method === 'PUT' ? { status: 403, body: '<Error><Code>AccessDenied</Code></Error>' } : undefined;
  const refused = await checkInside(check);
  expect(refused.ok).toBe(false);
  expect(refused.findings[1]?.detail).toContain('must allow s3:PutObject here');
  const date = new Date(Date.now() + 3_600_000).toUTCString();
  double.fault = () => ({ status: 403, headers: { date } });
  const late = await checkInside(check);
  expect(late.findings[0]).toMatchObject({
    what: 'clock',
    state: 'failed',
    detail: expect.stringMatching(/(3600|3599) s apart.*15 minutes/),
  });
});

test('a folder as object store', async () => {
  const root = join(await temporary(), 'objects');
  const check: InsideCheck = { objectStore: { kind: 'directory', root }, site: {}, network };
  expect((await checkInside(check)).ok).toBe(true);
  expect(await readdir(root)).toEqual([]);
  await rm(root, { recursive: true });
  await writeFile(root, 'a file where the folder should be');
  expect((await checkInside(check)).ok).toBe(false);
});

test('the factory lists versions; Omni without a trusted certificate, and names that do not resolve, fail', async () => {
  const server = createServer((request, response) => {
    response.setHeader('content-type', 'application/json');
    response.end(request.url === '/versions' ? '["v1.13.9"]' : '[]');
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => void server.close());
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  const site = { factory: `http://${host}`, omni: `https://${host}`, login: 'https://login.site.invalid' };
  const { findings } = await checkInside({ site, network: { ...network, plainHttp: [host] } });
  expect(states(findings)).toMatchObject({
    'factory: GET /versions': 'ok',
    'DNS: login.site.invalid': 'failed',
    [`omni: API ${host.split(':')[1]}/tcp`]: 'failed',
    'omni: machine API 8090/tcp': 'failed',
    'omni: Kubernetes proxy 8100/tcp': 'failed',
    'login: certificate 443/tcp': 'failed',
    'login: issuer': 'failed',
  });
});

/** A server of JSON documents by path, over plain HTTP. @returns its host */
async function startServer(documents: Readonly<Record<string, unknown>>, name = ''): Promise<string> {
  const server = createServer((request, response) => {
    const found = documents[request.url ?? ''];
    response.writeHead(found === undefined ? 404 : 200, {
      'content-type': 'application/json',
      ...(name === '' ? {} : { server: name }),
    });
    response.end(JSON.stringify(found ?? {}));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => void server.close());
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

test.each([
  ['Image Factory v1.5.0', 'failed'],
  ['Image Factory omni-airgap', undefined],
])('H2 installers that need a log-in: with %s in front', async (name, expected) => {
  const factory = await startServer({ '/versions': ['v1.13.9'] }, name);
  const double = await startDouble({
    script: [{ match: { path: /metal-installer/ }, do: { status: 401 } }],
  });
  const { findings } = await checkInside({
    registry: { host: double.host, prefix: 'site' },
    site: { factory: `http://${factory}` },
    network: { ...network, plainHttp: [double.host, factory] },
  });
  const found = states(findings);
  expect(found['registry: installers without a log-in']).toBe('note');
  expect(found['registry: installers of the factory without a log-in']).toBe(expected);
  if (expected === undefined) return;
  expect(findings.find(({ what }) => what.startsWith('installers of the factory'))?.detail).toMatch(
    /does not let site\/siderolabs\/metal-installer\/[0-9a-f]{64} be read.*allow anonymous pulls of site\/siderolabs\/\*-installer$/,
  );
});

describe('installers that Omni requests', () => {
  const version = 'v1.13.9';
  const known = ['{}', 'customization: {extraKernelArgs: [quiet]}'].map((text) => schematicFrom(text));
  const [plain = '', other = ''] = known.map(({ id }) => id).sort();
  const schematics = 'factory.talos.dev/siderolabs/image-factory/schematics';
  async function checkAfterLoad(
    names: readonly string[],
    server: string,
    { signed = true, prefix = '', keepHost = false } = {},
  ): Promise<{ readonly host: string; readonly ok: boolean; readonly installers: readonly Finding[] }> {
    const { folder } = await makeBundle(async (layout) => {
      const config = await addBlob(layout, MediaType.empty, Buffer.from('{}'));
      for (const name of names) {
        const text = known.find(({ id }) => name === `${schematics}:${id}`)?.canonical;
        const image = await addImage(
          layout,
          name,
          text === undefined ? bytesFor(name, 10) : Buffer.from(text),
        );
        if (signed && text === undefined)
          await addSignature(layout, name.replace(/:[^:/]*$/, ''), image, config);
      }
    });
    const double = await startDouble();
    const registry = { host: double.host, prefix };
    await loadInto(double, [folder], { registry, keepHost });
    const host = await startServer({ '/versions': [version] }, server);
    const { ok, findings } = await checkInside({
      registry,
      keepHost,
      site: { factory: `http://${host}` },
      network: { ...network, plainHttp: [double.host, host] },
    });
    return { host, ok, installers: findings.filter(({ subject }) => subject === 'installers') };
  }
  const carried = [`${schematics}:${plain}`, `${schematics}:${other}`];
  const serve = 'Image Factory omni-airgap';

  test.each([
    ['a registry of its own', {}],
    ['a prefix and hosts kept', { prefix: 'air/gap', keepHost: true }],
  ])('without a factory that builds, the carried ones are in the mirror: %s', async (_, options) => {
    const installers = ['metal-installer', 'installer'].map(
      (name) => `factory.talos.dev/${name}/${plain}:${version}`,
    );
    const found = await checkAfterLoad([...carried, ...installers], serve, options);
    expect(found.installers).toEqual([
      {
        subject: 'installers',
        what: `schematic ${plain.slice(0, 12)}…`,
        state: 'ok',
        detail: `Omni can have ${found.host}/metal-installer/${plain}:${version} installed`,
      },
      expect.objectContaining({
        what: `schematic ${other.slice(0, 12)}…`,
        state: 'note',
        detail: expect.stringMatching(
          /^no installer of [0-9a-f]{64} is here.*carry installers: \[metal\] beside it/,
        ),
      }),
    ]);
  });

  test('media without any installer fail the check', async () => {
    const { ok, installers } = await checkAfterLoad(carried, serve);
    expect(ok).toBe(false);
    expect(installers.map(({ state }) => state)).toEqual(['failed', 'failed']);
    // A proxy hides whether what is behind it builds.
    const hidden = await checkAfterLoad(carried, 'nginx');
    expect(hidden.installers.map(({ state }) => state)).toEqual(['note', 'note']);
  });

  test('a factory that builds needs its sources, signed', async () => {
    const sources = factorySources(version);
    const complete = await checkAfterLoad(sources, 'Image Factory v1.5.0');
    expect(complete.installers).toEqual([
      expect.objectContaining({ what: `sources of ${version}`, state: 'ok' }),
    ]);
    const partial = await checkAfterLoad(
      sources.filter((name) => !name.includes('installer-base')),
      'Image Factory v1.5.0',
      { prefix: 'air', keepHost: true },
    );
    expect(partial.installers).toMatchObject([
      {
        state: 'failed',
        detail: expect.stringMatching(
          /has no siderolabs\/installer-base:v1\.13\.9; carry talos\.imageFactory/,
        ),
      },
    ]);
    const unsigned = await checkAfterLoad(sources, 'Image Factory v1.5.0', { signed: false });
    expect(unsigned.installers[0]?.detail).toMatch(
      /has no the signature|has no .*the signature of siderolabs\/imager:v1\.13\.9.*--resign-key/,
    );
  });
});

test('the log-in service must call itself what the site file calls it, to the letter', async () => {
  const documents: Record<string, unknown> = {};
  const host = await startServer(documents);
  const issuer = `http://${host}/realms/x/`;
  const check = async (): Promise<Finding | undefined> => {
    const oidc = { issuer, clientId: 'omni', clientSecretFile: 'secret' };
    const { findings } = await checkInside({ site: { oidc }, network: { ...network, plainHttp: [host] } });
    return findings.find(({ subject, what }) => subject === 'login' && what === 'issuer');
  };
  expect(await check()).toMatchObject({ state: 'failed', detail: expect.stringContaining('answers 404') });
  documents['/realms/x/.well-known/openid-configuration'] = { issuer: issuer.replace(/\/$/, '') };
  expect(await check()).toMatchObject({
    state: 'failed',
    detail: expect.stringMatching(/calls itself http.*realms\/x, the site file calls it .*would not start$/),
  });
  documents['/realms/x/.well-known/openid-configuration'] = { issuer };
  expect(await check()).toMatchObject({ state: 'ok' });
});

test("Omni's database must answer: no program in its image could ask", async () => {
  const documents: Record<string, unknown> = {};
  const host = await startServer(documents);
  const check = async (): Promise<Finding | undefined> => {
    const { findings } = await checkInside({
      site: { omni: `http://${host}` },
      network: { ...network, plainHttp: [host] },
    });
    return findings.find(({ what }) => what === 'GET /healthz');
  };
  expect(await check()).toMatchObject({
    subject: 'omni',
    state: 'failed',
    detail: expect.stringContaining('404'),
  });
  documents['/healthz'] = {};
  expect(await check()).toMatchObject({ state: 'ok', detail: 'its database answers' });
});

test('time: how far off, or that nobody answers', async () => {
  const server = createSocket('udp4');
  let behindMs = 0;
  server.on('message', (request, from) => {
    expect(request).toHaveLength(48);
    const answer = Buffer.alloc(48);
    const now = Date.now() + behindMs;
    answer.writeUInt32BE(Math.floor(now / 1000) + 2_208_988_800, 40);
    answer.writeUInt32BE(Math.floor(((now % 1000) / 1000) * 2 ** 32), 44);
    server.send(answer, from.port, from.address);
  });
  server.bind(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => void server.close());
  const { port } = server.address();
  expect(await askTime('127.0.0.1', port)).toMatch(/^this clock is \d+ ms (behind|ahead of) it$/);
  behindMs = -3_600_000;
  expect(await askTime('127.0.0.1', port)).toEqual({
    note: expect.stringMatching(/the clock of this host is 3(600|599) s ahead of/),
  });
  behindMs = 3_600_000;
  expect(await askTime('127.0.0.1', port)).toEqual({
    note: expect.stringMatching(/the clock of this host is 3(600|599) s behind/),
  });
});

test('with nothing named there is nothing to check', async () => {
  await expect(checkInside({ site: {}, network })).rejects.toMatchObject({ code: 'USAGE' });
});
