/** egress rules, log and check: what must be reached, what was, and what cannot be. */

import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { type AddressInfo, createServer as createTcpServer } from 'node:net';
import { join } from 'node:path';
import { type RegistryDoubleOptions, temporaryFolder } from '@omni-airgap/oci/testing';
import { describe, expect, onTestFinished, test } from 'vitest';
import { checkEgress } from '../src/egress/check.ts';
import { summarizeLog } from '../src/egress/log.ts';
import { egressRules, formatNftables, portRules } from '../src/egress/rules.ts';
import { factoryHost, storageHost } from './factory-double.ts';
import { assetBytes, publishImage, type Site, startSite, talosVersion } from './site.ts';

const vanilla = '376567988ad370138ad8b2698212367b8edcb69b5fd68c80be1f2ec7d603b4ba';
const five = [
  'ghcr.io',
  '*.githubusercontent.com',
  'factory.talos.dev',
  '*.factory.talos.dev',
  '*.r2.cloudflarestorage.com',
];
const mirror = `talos: {versions: [${talosVersion}]}
media: [{schematic: {customization: {}}, files: [cmdline-metal-amd64]}]
images: ['ghcr.io/dexidp/dex:v1']`;

describe('rules', () => {
  const patterns = async (text: string): Promise<readonly string[]> => {
    const site = await startSite({});
    await site.mirror(text);
    return (await egressRules(site.config)).map((rule) => rule.pattern);
  };

  test('an Omni site without Kubernetes images needs five domains', async () => {
    expect(await patterns(mirror)).toEqual(five);
  });

  test('media alone need no registry, images alone no factory', async () => {
    expect(await patterns(mirror.split('\n').slice(0, 2).join('\n'))).toEqual(five.slice(2));
    expect(await patterns("images: ['ghcr.io/dexidp/dex:v1']")).toEqual(five.slice(0, 2));
  });

  test('Kubernetes and others only where they are named', async () => {
    expect(await patterns("images: ['registry.k8s.io/pause:3.10']")).toEqual([
      'registry.k8s.io',
      '*.pkg.dev',
      'storage.googleapis.com',
      '*.s3.dualstack.us-east-1.amazonaws.com',
    ]);
    expect(await patterns("images: ['registry.example.com:5000/a:1']")).toEqual(['registry.example.com']);
  });

  test('as an nftables ruleset: a set for each port, the names in the comments', () => {
    const text = formatNftables([
      { pattern: 'ghcr.io', port: 443, why: 'images' },
      { pattern: '*.example.com', port: 5000, why: 'more' },
    ]);
    expect(text).toContain('nftset=/ghcr.io/4#inet#omni_airgap#hosts4_443,6#inet#omni_airgap#hosts6_443');
    expect(text).toContain('nftset=/example.com/4#inet#omni_airgap#hosts4_5000');
    expect(text).toContain('ip daddr @hosts4_5000 tcp dport 5000 accept');
    expect(text).toContain('policy drop');
  });

  test('for nodes: ports inside, WireGuard where it is said to be, and a word on 50180', () => {
    const { ports, notes, optional } = portRules('nodes', 50180);
    expect(ports.map(({ to, port, protocol }) => `${to} ${port}/${protocol}`)).toEqual([
      'omni 443/tcp',
      'omni 50180/udp',
      'omni 8090/tcp',
      'factory 8080/tcp',
      'registry 5000/tcp',
      'dns 53/udp',
      'dns 53/tcp',
      'ntp 123/udp',
    ]);
    expect(portRules('nodes').ports[1]?.port).toBe(51820);
    expect(notes.join()).toContain('50180');
    expect(optional.map((host) => host.pattern)).toContain('discovery.talos.dev');
  });

  test('for Omni as a service: what is needed there alone', () => {
    expect(portRules('saas').ports.map(({ to, port }) => `${to} ${port}`)).toEqual([
      'omni 443',
      'omni 51820',
      'dns 53',
      'dns 53',
      'ntp 123',
    ]);
  });
});

describe('log', () => {
  test('sums up by host; refusals are no requests; no query is in it (T53)', async () => {
    const site = await startSite();
    await publishImage(site.registry('ghcr.io'), 'dexidp/dex', 'v1');
    site.registry('ghcr.io').fault({
      match: { path: /blobs/, nth: 2 },
      do: { status: 307, headers: { location: 'https://evil.example/x?sig=CANARY' } },
    });
    await site.mirror("images: ['ghcr.io/dexidp/dex:v1']");
    await site.fetch().catch(() => undefined);
    const path = join(site.store, 'egress.jsonl');
    const { hosts, from, to } = await summarizeLog(path);
    expect(hosts.map((host) => host.host)).toEqual(['evil.example', 'ghcr.io']);
    expect(hosts[0]).toMatchObject({
      requests: 0,
      refused: 1,
      addresses: [],
      reasons: [expect.stringContaining('allow-list')],
    });
    expect(hosts[1]).toMatchObject({ refused: 0, addresses: ['127.0.0.1'], failed: 0 });
    const records = (await site.egress()).filter((record) => record['host'] === 'ghcr.io');
    const bytes = records.reduce((sum, record) => sum + Number(record['bytes']), 0);
    expect(bytes).toBeGreaterThan(1000);
    expect(hosts[1]?.bytes).toBe(bytes);
    expect(from && to && from <= to).toBe(true);
    expect(JSON.stringify(await site.egress())).not.toContain('CANARY');
  });

  test('a half-written line is counted, not believed', async () => {
    const site = await startSite({});
    const path = join(site.folder, 'egress.jsonl');
    const line = {
      time: '2026-08-01T00:00:00Z',
      host: 'ghcr.io',
      address: '',
      bytes: 5,
      via: 'proxy',
      status: 200,
    };
    await writeFile(path, `${JSON.stringify(line)}\n{"time":"2026-`);
    expect(await summarizeLog(path)).toMatchObject({
      damaged: 1,
      hosts: [{ host: 'ghcr.io', requests: 1, bytes: 5, viaProxy: 1 }],
    });
  });

  test('a record that is not there', async () => {
    await expect(summarizeLog(join(await temporaryFolder(), 'egress.jsonl'))).rejects.toMatchObject({
      code: 'NO_INPUT',
    });
  });
});

describe('check', () => {
  async function checked(options: RegistryDoubleOptions = {}): Promise<Site> {
    const site = await startSite({ 'ghcr.io': options });
    await publishImage(site.registry('ghcr.io'), 'dexidp/dex', 'v1');
    site.factory.files.set('versions', Buffer.from(`["${talosVersion}"]`));
    site.factory.files.set(
      `image/${vanilla}/${talosVersion}/cmdline-metal-amd64`,
      await assetBytes('cmdline-metal-amd64', 1, 100),
    );
    await site.mirror(mirror);
    return site;
  }

  test('asks each domain for little, follows to the storage, and says what it could not see', async () => {
    const site = await checked();
    const { ok, hosts } = await checkEgress({ config: site.config, network: site.network });
    expect(hosts.map(({ pattern, state, host }) => [pattern, state, host])).toEqual([
      ['ghcr.io', 'ok', 'ghcr.io'],
      ['*.githubusercontent.com', 'unseen', undefined],
      ['factory.talos.dev', 'ok', factoryHost],
      ['*.factory.talos.dev', 'unseen', undefined],
      ['*.r2.cloudflarestorage.com', 'ok', storageHost],
    ]);
    expect(ok).toBe(true);
    expect(site.factory.storage.requests[0]?.headers['range']).toBe('bytes=0-0');
    expect(hosts[0]?.connection).toMatchObject({ addresses: ['127.0.0.1'], tcp: 'ok', tls: 'none' });
  });

  test.each([
    ['none', {}],
    ['ok', { auth: { kind: 'token', anonymousPull: true } }],
    ['failed', { auth: { kind: 'token' } }],
    ['failed', { auth: { kind: 'token', realm: 'https://elsewhere.example/token' } }],
  ] as const)('says whether the registry gave a token: %s', async (token, options) => {
    const site = await checked(options);
    const { ok, hosts } = await checkEgress({ config: site.config, network: site.network });
    expect(hosts[0]).toMatchObject({ host: 'ghcr.io', token, state: token === 'failed' ? 'failed' : 'ok' });
    expect(ok).toBe(token !== 'failed');
    expect(hosts[2]?.token).toBeUndefined();
  });

  test('names the rule that is missing where no connection comes about', async () => {
    const site = await checked();
    const upstreams = [
      ...site.network.upstreams.filter((one) => !one.startsWith('ghcr.io')),
      'ghcr.io=http://127.0.0.1:1',
    ];
    const { ok, hosts } = await checkEgress({ config: site.config, network: { ...site.network, upstreams } });
    expect(ok).toBe(false);
    expect(hosts[0]).toMatchObject({
      state: 'failed',
      connection: { tcp: 'failed' },
      problem: expect.stringContaining('connection refused; check that it is running'),
      missingRule: 'allow TCP 443 to ghcr.io',
    });
    expect(hosts[2]?.state).toBe('ok');
  }, 60_000);

  test.each([
    [
      'refuses connections',
      undefined,
      'connection refused; check that it is running, and its port in HTTPS_PROXY',
    ],
    ['asks for a log-in', 407, 'answers 407; it asks for a log-in'],
    ['refuses the host', 403, 'answers 403; allow ghcr.io in its configuration'],
  ])('C7 a proxy that %s is named, and no missing rule', async (_what, status, says) => {
    const site = await startSite();
    await site.mirror("images: ['ghcr.io/dexidp/dex:v1']");
    const server = createServer();
    server.on('connect', (_, socket) => socket.end(`HTTP/1.1 ${status} No\r\ncontent-length: 0\r\n\r\n`));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    const close = (): Promise<void> => new Promise((resolve) => void server.close(() => resolve()));
    if (status === undefined) await close();
    else onTestFinished(close);
    const proxy = { https: new URL(`http://127.0.0.1:${port}`), noProxy: [] };
    const network = { ...site.network, upstreams: [], proxy };
    const { hosts } = await checkEgress({ config: site.config, network });
    expect(hosts[0]).toMatchObject({
      state: 'failed',
      connection: { tcp: 'failed', via: 'proxy', addresses: [] },
      problem: expect.stringContaining(`the proxy 127.0.0.1:${port} (HTTPS_PROXY): ${says}`),
    });
    expect(hosts[0]?.missingRule).toBeUndefined();
  });

  test('A10 a proxy by https:// is spoken to by TLS: no password is sent before', async () => {
    const site = await startSite();
    await site.mirror("images: ['ghcr.io/dexidp/dex:v1']");
    const seen: Buffer[] = [];
    const server = createTcpServer((socket) => {
      socket.on('error', () => undefined);
      socket.once('data', (bytes) => {
        seen.push(bytes);
        socket.destroy();
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    onTestFinished(() => new Promise<void>((resolve) => void server.close(() => resolve())));
    const { port } = server.address() as AddressInfo;
    const proxy = { https: new URL(`https://alice:s3cret@127.0.0.1:${port}`), noProxy: [] };
    const { hosts } = await checkEgress({
      config: site.config,
      network: { ...site.network, upstreams: [], proxy },
    });
    // A TLS record of the handshake. Source: RFC 8446 section 5.1.
    expect(seen.length).toBeGreaterThan(0);
    for (const bytes of seen) expect(bytes[0]).toBe(0x16);
    expect(hosts[0]?.problem).toContain(`the proxy 127.0.0.1:${port} (HTTPS_PROXY)`);
    expect(JSON.stringify(hosts)).not.toContain('s3cret');
  });

  test('a name that nobody knows needs a name server, and no rule for TCP', async () => {
    const site = await startSite();
    await site.mirror("images: ['registry.invalid/a:v1']");
    const { hosts } = await checkEgress({ config: site.config, network: { ...site.network, upstreams: [] } });
    expect(hosts[0]).toMatchObject({ state: 'failed', connection: { tcp: 'not tried' } });
    expect(hosts[0]?.problem).toMatch(/name servers/);
    expect(hosts[0]?.missingRule).toBeUndefined();
  });

  test.each([
    ['ghcr.io', 'ghcr.io'],
    ['the factory', factoryHost],
    ['its storage', storageHost],
  ])('a web page in place of %s is a failure, and no missing rule (F5, F10)', async (_what, name) => {
    const site = await checked();
    const body = '<html>log in</html>';
    const headers = { 'content-type': 'text/html', 'docker-content-digest': '' };
    site.registry('ghcr.io').fault({
      match: { path: name === 'ghcr.io' ? /manifests/ : /never/ },
      do: { status: 200, headers, body },
    });
    site.factory.rules.push({
      path: name === factoryHost ? /versions/ : name === storageHost ? /cmdline.*X-Amz/ : /never/,
      answer: (_, response) => void response.writeHead(200, headers).end(body),
    });
    const { ok, hosts } = await checkEgress({ config: site.config, network: site.network });
    expect(ok).toBe(false);
    const found = hosts.find(({ host }) => host === name);
    expect(found).toMatchObject({
      state: 'failed',
      problem: expect.stringContaining('a web page (text/html)'),
    });
    expect(found?.missingRule).toBeUndefined();
  });

  test('a host that is refused by the other side is no missing rule', async () => {
    const site = await checked();
    site.factory.rules.push({
      path: /cmdline.*X-Amz/,
      answer: (_, response) => void response.writeHead(403, { 'content-length': 0 }).end(),
    });
    const { hosts } = await checkEgress({ config: site.config, network: site.network });
    const storage = hosts.find((host) => host.host === storageHost);
    expect(storage).toMatchObject({ state: 'failed', status: 403 });
    expect(storage?.missingRule).toBeUndefined();
  });
});
