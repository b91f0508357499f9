/** TLS with a CA of the site, directly and through a CONNECT proxy. Certificates are made by the openssl program. */
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import tls, { type TLSSocket } from 'node:tls';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import { HttpGate } from '../src/http/gate.ts';
import type { ProxySettings } from '../src/http/proxy.ts';
import type { EgressRecord } from '../src/http/record.ts';
import { openNetwork } from '../src/registry/network.ts';
import { type LoopbackServer, startHttpServer } from '../src/testing/http-server.ts';
import { gateTo, lateReader, lentBody, plainPolicy } from './gate.ts';

const run = promisify(execFile);
/** Bytes that are expected of a body: the gate has two ways to receive one. */
const bodies = [
  ['of a small body', 0],
  ['of a large body', 1024 * 1024],
] as const;
const openssl = await run('openssl', ['version']).then(
  () => true,
  () => false,
);
if (!openssl && process.env['CI'] === 'true') throw new Error('openssl is not installed');
if (!openssl) console.log('skipped: openssl is not installed');

describe.skipIf(!openssl)('TLS', () => {
  let folder: string;
  let cert: string;
  let origin: LoopbackServer;
  let proxy: Server;
  const connects: string[] = [];
  const sockets = new Set<Socket>();

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tls-'));
    const [certFile, keyFile] = [join(folder, 'cert.pem'), join(folder, 'key.pem')];
    const extension = 'subjectAltName=DNS:registry.lab,IP:127.0.0.1';
    await run('openssl', [
      ...[
        'req',
        '-x509',
        '-newkey',
        'ec',
        '-pkeyopt',
        'ec_paramgen_curve:prime256v1',
        '-nodes',
        '-days',
        '2',
      ],
      ...['-subj', '/CN=registry.lab', '-addext', extension, '-keyout', keyFile, '-out', certFile],
    ]);
    cert = await readFile(certFile, 'utf8');
    origin = await startHttpServer((_, response) => response.end('secret place'), {
      cert,
      key: await readFile(keyFile, 'utf8'),
    });
    // Takes every name to the one origin, as DNS would.
    proxy = createServer((client) => {
      sockets.add(client.on('error', () => undefined));
      client.once('data', (head) => {
        connects.push(head.toString());
        const upstream = connect(Number(new URL(origin.url).port), '127.0.0.1');
        sockets.add(upstream.on('error', () => undefined));
        client.write('HTTP/1.1 200 OK\r\n\r\n');
        client.pipe(upstream).pipe(client);
      });
    });
    await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  });
  afterAll(async () => {
    for (const socket of sockets) socket.destroy();
    proxy?.close();
    await origin?.close();
    if (folder !== undefined) await rm(folder, { recursive: true });
  });

  async function get(
    host: string,
    options: { readonly ca?: readonly string[]; readonly proxy?: ProxySettings },
    expectedBytes = 0,
  ): Promise<{ readonly text: string; readonly record: EgressRecord | undefined }> {
    const records: EgressRecord[] = [];
    const gate = new HttpGate({
      ...options,
      policy: { hosts: [host], plainHttp: [], allowPrivate: true, upstreams: [] },
      egressLog: { record: (record) => records.push(record) },
      lookup: async () => [{ address: '127.0.0.1', family: 4 }],
    });
    try {
      const response = await gate.request({
        method: 'GET',
        url: `https://${host}/x`,
        authorization: 'Bearer s3cret',
        expectedBytes,
      });
      return { text: await response.text(), record: records[0] };
    } finally {
      await gate.close();
    }
  }
  const port = (): string => new URL(origin.url).port;

  test('authorities are parsed once, and for connections over TLS alone', async () => {
    const made = vi.spyOn(tls, 'createSecureContext');
    syncBuiltinESMExports();
    onTestFinished(() => {
      made.mockRestore();
      syncBuiltinESMExports();
    });
    const withAuthority = (): number =>
      made.mock.calls.filter(([options]) => options?.ca?.includes(cert) === true).length;
    const plain = await startHttpServer((_, response) => response.end());
    onTestFinished(() => plain.close());
    const hosts = [plain.host, origin.host, `registry.lab:${port()}`];
    const policy = { hosts, plainHttp: [plain.host], allowPrivate: true, upstreams: [] };
    const lookup = async () => [{ address: '127.0.0.1', family: 4 as const }];
    const gate = new HttpGate({ policy, ca: [cert], lookup });
    onTestFinished(() => gate.close());
    const ask = async (url: string): Promise<unknown> => (await gate.request({ method: 'GET', url })).text();
    await ask(`http://${plain.host}/x`);
    expect(withAuthority()).toBe(0);
    await ask(`https://registry.lab:${port()}/x`);
    await ask(`https://${origin.host}/x`);
    expect(withAuthority()).toBe(1);
  });

  test.each(bodies)('a CA of the site is trusted besides the usual ones, %s', async (_, expectedBytes) => {
    const { text, record } = await get(`registry.lab:${port()}`, { ca: [cert] }, expectedBytes);
    expect(text).toBe('secret place');
    expect(record).toMatchObject({ address: '127.0.0.1', status: 200, bytes: 12 });
    expect((await get(origin.host, { ca: [cert] })).text).toBe('secret place');
  });
  test('the authorities of SSL_CERT_FILE are trusted too; a file without any is refused where it was named', async () => {
    const settings = { upstreams: [], allowHosts: [], plainHttp: [] };
    const scope = { hosts: [origin.host], allowPrivate: true };
    const network = await openNetwork(
      { ...settings, env: { SSL_CERT_FILE: join(folder, 'cert.pem') } },
      scope,
    );
    onTestFinished(() => network.close());
    const answer = await network.gate.request({ method: 'GET', url: `https://${origin.host}/x` });
    expect(await answer.text()).toBe('secret place');
    for (const [name, code] of [
      ['key.pem', 'CONFIG'],
      ['none.pem', 'NO_INPUT'],
    ] as const) {
      const env = { SSL_CERT_FILE: join(folder, name) };
      await expect(openNetwork({ ...settings, env }, scope)).rejects.toMatchObject({
        code,
        message: expect.stringContaining('SSL_CERT_FILE'),
      });
    }
  });
  test.each([16, 1024])(
    'chunks of %i KiB are given back once they are encrypted, and not before',
    async (kib) => {
      const { received, listener } = lateReader();
      const late = await startHttpServer(listener, { cert, key: await readFile(join(folder, 'key.pem')) });
      onTestFinished(() => late.close());
      const { gate } = gateTo({}, { policy: { ...plainPolicy(late.host), plainHttp: [] }, ca: [cert] });
      const { sent, body, givenBack } = lentBody(kib);
      await (await gate.request({ method: 'PUT', url: late.url, body })).cancel();
      expect(received()).toBe(sent());
      expect(givenBack()).toBeGreaterThan(10);
    },
  );
  test.each(bodies)(
    'without it the certificate is refused, for good, and the switch is named, %s',
    async (_, bytes) => {
      await expect(get(`registry.lab:${port()}`, {}, bytes)).rejects.toMatchObject({
        code: 'UPSTREAM',
        message: /--ca-cert/,
      });
    },
  );
  test.each([
    ['to an origin', undefined],
    ['to an origin through a proxy', 'http'],
    ['to a proxy', 'https'],
  ] as const)(
    'A19 NODE_TLS_REJECT_UNAUTHORIZED=0 does not switch off the check of a connection %s',
    async (_to, scheme) => {
      vi.stubEnv('NODE_TLS_REJECT_UNAUTHORIZED', '0');
      onTestFinished(() => void vi.unstubAllEnvs());
      const proxyPort = scheme === 'https' ? port() : String((proxy.address() as { port: number }).port);
      const settings =
        scheme === undefined
          ? {}
          : { proxy: { https: new URL(`${scheme}://127.0.0.1:${proxyPort}`), noProxy: [] } };
      for (const [, bytes] of bodies)
        await expect(get(`registry.lab:${port()}`, settings, bytes)).rejects.toMatchObject({
          code: 'UPSTREAM',
          message: /certificate refused/,
        });
    },
  );
  test('a certificate for another name is refused', async () => {
    await expect(get(`other.lab:${port()}`, { ca: [cert] })).rejects.toMatchObject({
      code: 'UPSTREAM',
      message: /certificate refused/,
    });
  });
  test('T35 through a proxy: only the host and the credentials for it are seen there', async () => {
    const address = proxy.address() as { port: number };
    const settings = { https: new URL(`http://user:pw@127.0.0.1:${address.port}`), noProxy: [] };
    const { text, record } = await get('registry.lab', { ca: [cert], proxy: settings });
    expect(text).toBe('secret place');
    expect(record).toMatchObject({ host: 'registry.lab', via: 'proxy', address: '', status: 200 });
    expect(connects.at(-1)).toMatch(/^CONNECT registry\.lab:443 HTTP\/1\.1\r\n/);
    expect(connects.at(-1)).toContain('proxy-authorization: Basic');
    expect(connects.at(-1)).not.toContain('s3cret');
    expect(origin.requests.at(-1)?.headers).not.toHaveProperty('proxy-authorization');
  });
  describe('a client certificate', () => {
    const scope = { allowPrivate: true };
    /** A server that shows whose certificate it was shown; `required` turns away who has none. */
    const mutual = async (required: boolean, location?: string): Promise<LoopbackServer> => {
      const key = await readFile(join(folder, 'key.pem'), 'utf8');
      const started = await startHttpServer(
        (request, response) => {
          const peer = (request.socket as TLSSocket).getPeerCertificate();
          response.writeHead(location === undefined ? 200 : 307, location === undefined ? {} : { location });
          response.end(peer.subject === undefined ? 'nobody' : peer.subject.CN);
        },
        { cert, key, ca: cert, requestCert: true, rejectUnauthorized: required },
      );
      onTestFinished(() => started.close());
      return started;
    };
    const settings = () => ({
      ...{ upstreams: [], allowHosts: [], plainHttp: [], env: {} },
      caCert: join(folder, 'cert.pem'),
      clientCert: join(folder, 'cert.pem'),
      clientKey: join(folder, 'key.pem'),
    });
    const ask = async (host: string, options: Parameters<typeof openNetwork>): Promise<string> => {
      const network = await openNetwork(...options);
      onTestFinished(() => network.close());
      const response = await network.gate.request({ method: 'GET', url: `https://${host}/` });
      return response.text();
    };

    test('is shown to the servers that were named, and to nobody they redirect to', async () => {
      const other = await mutual(false);
      const named = await mutual(true, `https://${other.host}/`);
      const hosts = [named.host, other.host];
      expect(await ask(named.host, [settings(), { ...scope, hosts, identifyTo: [named.host] }])).toBe(
        'nobody',
      );
      const both = { ...scope, hosts, identifyTo: hosts };
      expect(await ask(named.host, [settings(), both])).toBe('registry.lab');
      expect(await ask(other.host, [settings(), { ...scope, hosts }])).toBe('nobody');
    });
    test('the server asks for one and none is named: the flags are', async () => {
      const { host } = await mutual(true);
      const { clientCert: _, clientKey: __, ...bare } = settings();
      await expect(ask(host, [bare, { ...scope, hosts: [host] }])).rejects.toThrow(
        /asks for a client certificate.*--client-cert FILE and --client-key FILE/,
      );
    });
    test('one that cannot be used is refused before any request', async () => {
      const other = join(folder, 'other.pem');
      await run('openssl', ['genpkey', '-algorithm', 'ED25519', '-out', other]);
      const locked = join(folder, 'locked.pem');
      await run('openssl', [
        ...['pkey', '-in', join(folder, 'key.pem'), '-aes256', '-passout', 'pass:right', '-out', locked],
      ]);
      const { clientCert, clientKey } = settings();
      const cases: readonly (readonly [object, string, RegExp])[] = [
        [{ clientKey: undefined }, 'USAGE', /belong together/],
        [{ clientCert: undefined }, 'USAGE', /belong together/],
        [{ clientCert: clientKey }, 'CONFIG', /--client-cert .*key\.pem: holds no PEM certificate/],
        [{ clientKey: clientCert }, 'CONFIG', /--client-key .*cert\.pem: holds no PEM private key/],
        [{ clientKey: join(folder, 'none') }, 'NO_INPUT', /--client-key .*none: no such file/],
        [{ clientKey: other }, 'CONFIG', /is not the key of --client-cert/],
        [{ clientKey: locked }, 'CONFIG', /has a passphrase; give it in OMNI_AIRGAP_KEY_PASSPHRASE/],
        [{ clientKey: locked, clientKeyPassphrase: 'wrong' }, 'CONFIG', /does not open it/],
      ];
      for (const [members, code, message] of cases) {
        await expect(
          openNetwork({ ...settings(), ...members }, { ...scope, hosts: [] }),
        ).rejects.toMatchObject({
          code,
          message: expect.stringMatching(message),
        });
      }
      const { host } = await mutual(true);
      const open = { ...settings(), clientKey: locked, clientKeyPassphrase: 'right' };
      expect(await ask(host, [open, { ...scope, hosts: [host], identifyTo: [host] }])).toBe('registry.lab');
    });
    test('one that is out of date is noted', async () => {
      const notes: string[] = [];
      const options = { ...scope, hosts: [], onNote: (text: string) => void notes.push(text) };
      await (await openNetwork(settings(), options)).close();
      expect(notes).toEqual([]);
      vi.useFakeTimers({ now: Date.now() + 10 * 86_400_000, toFake: ['Date'] });
      onTestFinished(() => void vi.useRealTimers());
      await (await openNetwork(settings(), options)).close();
      expect(notes).toEqual([
        expect.stringMatching(/--client-cert .*: is valid from .* this host's clock says/),
      ]);
    });
    test('no proxy is shown it', async () => {
      const secure = await mutual(false);
      const proxied = { https: new URL(`https://${secure.host}`), noProxy: [] };
      const before = secure.connections;
      const options = { ...scope, hosts: ['registry.lab'], identifyTo: ['registry.lab'] };
      // It is no proxy, so the tunnel fails; what counts is that the TLS to it needs no certificate of ours.
      await expect(ask('registry.lab', [{ ...settings(), proxy: proxied }, options])).rejects.toThrow();
      expect(secure.connections).toBeGreaterThan(before);
      const strict = await mutual(true);
      const refused = { https: new URL(`https://${strict.host}`), noProxy: [] };
      await expect(ask('registry.lab', [{ ...settings(), proxy: refused }, options])).rejects.toThrow();
      expect(strict.requests).toHaveLength(0);
    });
  });
  test('U-M4 a certificate for another name: its names; a server of HTTP/2 alone: no word of plain HTTP', async () => {
    await expect(get(`other.lab:${port()}`, { ca: [cert] })).rejects.toThrow(
      /it is for registry\.lab, 127\.0\.0\.1; use one of these in the site file$/,
    );
    const key = await readFile(join(folder, 'key.pem'), 'utf8');
    const modern = await startHttpServer((_, response) => response.end(), {
      cert,
      key,
      ALPNProtocols: ['h2'],
    });
    onTestFinished(() => modern.close());
    const failed = await get(modern.host, { ca: [cert] }).catch(String);
    expect(failed).toContain('speaks HTTP/2 only');
    expect(failed).not.toContain('--plain-http');
  });
  test('plain HTTP where TLS was expected names the switch', async () => {
    const plain = await startHttpServer((_, response) => response.end());
    try {
      await expect(get(plain.host, {})).rejects.toMatchObject({ code: 'UPSTREAM', message: /--plain-http/ });
    } finally {
      await plain.close();
    }
  });
});
