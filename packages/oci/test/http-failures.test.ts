/** U-M4, C7, C15: what is said of a failed connection belongs to its cause, and to how the other side was named. */
import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo, createServer as createTcpServer } from 'node:net';
import { join } from 'node:path';
import { createServer as createTlsServer } from 'node:tls';
import { promisify } from 'node:util';
import { describe, expect, onTestFinished, test } from 'vitest';
import type { Peer } from '../src/http/advice.ts';
import { failureOf, ProxyFailure } from '../src/http/failure.ts';
import { HttpGate } from '../src/http/gate.ts';
import { openNetwork } from '../src/registry/network.ts';
import { startHttpServer } from '../src/testing/http-server.ts';
import { temporaryFolder } from '../src/testing/temporary.ts';

const coded = (code: string, message = code): Error => Object.assign(new Error(message), { code });

interface Case {
  readonly error: Error;
  readonly peer?: Peer;
  readonly url?: string;
  readonly proxy?: string;
  readonly hasAuthority?: boolean;
}

const told = ({
  error,
  peer = 'site',
  url = 'https://there.site:5000/v2/',
  proxy,
  hasAuthority = false,
}: Case) => {
  const target = new URL(url);
  return failureOf(error, {
    ...{ method: 'GET', url: target, target, peer, hasAuthority },
    ...(proxy === undefined ? {} : { proxy: { url: new URL(proxy), setting: 'HTTPS_PROXY' } }),
  });
};
const start = 'GET https://there.site:5000/v2/: ';

describe('rows', () => {
  const proxy = 'http://proxy.site:3128';
  const plain = 'http://there.site:5000/v2/';
  test.each<readonly [code: string, about: Omit<Case, 'error'>, says: string | RegExp]>([
    ['ENOTFOUND', {}, "the name is not known to DNS; check its spelling, and this host's name servers"],
    [
      'ENOTFOUND',
      { peer: 'object store' },
      "the name is not known to DNS; check --s3-endpoint, and this host's name servers",
    ],
    [
      'EAI_AGAIN',
      {},
      "DNS does not answer; this host's name servers do not answer; a firewall may block port 53",
    ],
    ['ECONNREFUSED', {}, 'connection refused'],
    [
      'ECONNREFUSED',
      { peer: 'registry' },
      /connection refused; check that it is running, and its port .* 5000\)$/,
    ],
    [
      'ECONNREFUSED',
      { peer: 'object store' },
      'connection refused; check that it is running, and the port in --s3-endpoint',
    ],
    ['ECONNREFUSED', { peer: 'factory' }, /egress rules prints what must be allowed$/],
    ['ECONNREFUSED', { peer: 'token service' }, /the registry names it for log-ins/],
    ['EHOSTUNREACH', {}, "no route to the host; check this host's routes and firewalls"],
    ['UND_ERR_CONNECT_TIMEOUT', {}, 'no connection in time; a firewall may drop it'],
    ['UND_ERR_CONNECT_TIMEOUT', { peer: 'factory' }, /a firewall may drop it; omni-airgap egress rules/],
    ['ECONNRESET', {}, 'connection reset'],
    ['UND_ERR_HEADERS_TIMEOUT', {}, 'no answer in time'],
    [
      'CERT_HAS_EXPIRED',
      {},
      /^TLS certificate refused \(CERT_HAS_EXPIRED\); it has expired: renew it, or correct the clock \(this host's clock says 20/,
    ],
    [
      'CERT_HAS_EXPIRED',
      { peer: 'factory' },
      /it has expired; this host's clock says .*: correct it if it is wrong$/,
    ],
    ['CERT_HAS_EXPIRED', { peer: 'token service' }, /renew it at the log-in service of the registry/],
    ['CERT_NOT_YET_VALID', {}, /it is not valid yet; this host's clock says .*: correct it if it is wrong$/],
    ['ERR_TLS_CERT_ALTNAME_INVALID', {}, /it is for another name; use one of these in the site file$/],
    [
      'ERR_TLS_CERT_ALTNAME_INVALID',
      { peer: 'registry' },
      /name the registry so, or give it a certificate for there\.site:5000$/,
    ],
    ['ERR_TLS_CERT_ALTNAME_INVALID', { peer: 'object store' }, /use one of these in --s3-endpoint$/],
    [
      'ERR_TLS_CERT_ALTNAME_INVALID',
      { peer: 'factory' },
      /something else answers in place of there\.site:5000$/,
    ],
    [
      'ERR_TLS_CERT_ALTNAME_INVALID',
      { peer: 'token service' },
      /the registry must name its log-in service so$/,
    ],
    ['DEPTH_ZERO_SELF_SIGNED_CERT', {}, /if that is an authority of the site, name it with --ca-cert FILE$/],
    [
      'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
      { hasAuthority: true },
      /none of the authorities of --ca-cert issued it: name the right one$/,
    ],
    [
      'SELF_SIGNED_CERT_IN_CHAIN',
      { peer: 'factory' },
      /a firewall that inspects TLS has an authority of its own$/,
    ],
    ['ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED', {}, /specify --client-cert FILE and --client-key FILE$/],
    ['ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED', { peer: 'factory' }, /something else answers$/],
    [
      'ERR_SSL_WRONG_VERSION_NUMBER',
      { peer: 'registry' },
      /if it speaks plain HTTP, add --plain-http there\.site:5000$/,
    ],
    [
      'ERR_SSL_WRONG_VERSION_NUMBER',
      { peer: 'object store' },
      /if it speaks plain HTTP, write http:\/\/ in --s3-endpoint$/,
    ],
    [
      'ERR_SSL_WRONG_VERSION_NUMBER',
      { peer: 'factory' },
      /so it is not there\.site:5000: check the proxy and the firewall$/,
    ],
    ['ERR_SSL_WRONG_VERSION_NUMBER', {}, /write http:\/\/ in the site file$/],
    [
      'ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL',
      {},
      /the server speaks HTTP\/2 only; let it offer HTTP\/1\.1 as well$/,
    ],
    ['ERR_SSL_BAD_ECC', {}, 'TLS failed (ERR_SSL_BAD_ECC)'],
    [
      'ECONNRESET',
      { url: plain, peer: 'registry' },
      /connection reset; if it speaks TLS, leave out --plain-http there\.site:5000$/,
    ],
    [
      'ECONNRESET',
      { url: plain, peer: 'object store' },
      /if it speaks TLS, write https:\/\/ in --s3-endpoint$/,
    ],
    [
      'HPE_INVALID_CONSTANT',
      { url: plain },
      /the answer is no HTTP; if it speaks TLS, write https:\/\/ in the site file$/,
    ],
    ['constructor', {}, 'constructor'],
  ])('%s, %j', (code, about, says) => {
    const { message, failure } = told({ error: coded(code), ...about });
    const text = message.replace(/^GET https?:\/\/there\.site:5000\/v2\/: /, '');
    if (typeof says === 'string') expect(text).toBe(says);
    else expect(text).toMatch(says);
    expect(failure?.peer).toBe(about.peer ?? 'site');
  });

  test.each<readonly [error: Error, proxy: string, says: string | RegExp]>([
    [
      new ProxyFailure(coded('ECONNREFUSED')),
      proxy,
      'connection refused; check that it is running, and its port in HTTPS_PROXY',
    ],
    [
      new ProxyFailure(coded('ENOTFOUND')),
      proxy,
      "the name is not known to DNS; check HTTPS_PROXY, and this host's name servers",
    ],
    [new ProxyFailure(coded('UND_ERR_CONNECT_TIMEOUT')), proxy, /no connection in time; check HTTPS_PROXY/],
    [
      new ProxyFailure(coded('ERR_TLS_CERT_ALTNAME_INVALID')),
      'https://proxy.site:3128',
      /use one of these in HTTPS_PROXY$/,
    ],
    [
      new ProxyFailure(coded('ERR_SSL_WRONG_VERSION_NUMBER')),
      'https://proxy.site:3128',
      /the proxy does not speak TLS; write http:\/\/ in HTTPS_PROXY$/,
    ],
    [
      new ProxyFailure(coded('UND_ERR_SOCKET')),
      proxy,
      /if the proxy speaks TLS, write https:\/\/ in HTTPS_PROXY$/,
    ],
    [
      new ProxyFailure(coded('ERR_SSL_ALERT_CERTIFICATE_REQUIRED')),
      'https://proxy.site:3128',
      /which is not supported$/,
    ],
    [
      new Error('Proxy response (407) !== 200 when HTTP Tunneling'),
      proxy,
      'answers 407; it asks for a log-in; write http://USER:PASSWORD@HOST:PORT in HTTPS_PROXY',
    ],
    [
      new Error('Proxy Authentication Required (407)'),
      'http://ann:secret@proxy.site:3128',
      'answers 407; it refuses the user name and password in HTTPS_PROXY',
    ],
    [
      new Error('Proxy response (403) !== 200 when HTTP Tunneling'),
      proxy,
      'answers 403; allow there.site:5000 in its configuration',
    ],
    [
      new Error('Proxy response (503) !== 200 when HTTP Tunneling'),
      proxy,
      'answers 503; it cannot reach there.site:5000',
    ],
  ])('C7 of the proxy: %s, %s', (error, named, says) => {
    const { message, failure } = told({ error, peer: 'registry', proxy: named });
    expect(message.startsWith(`${start}the proxy proxy.site:3128 (HTTPS_PROXY): `)).toBe(true);
    const text = message.slice(`${start}the proxy proxy.site:3128 (HTTPS_PROXY): `.length);
    if (typeof says === 'string') expect(text).toBe(says);
    else expect(text).toMatch(says);
    expect(message).not.toContain('secret');
    expect(failure?.peer).toBe('proxy');
  });

  test('what fails behind a proxy that let us through is of the other side', () => {
    const { message, failure } = told({
      error: coded('DEPTH_ZERO_SELF_SIGNED_CERT'),
      peer: 'registry',
      proxy,
    });
    expect(message).not.toContain('the proxy');
    expect(failure).toEqual({ cause: 'certificate of an unknown authority', peer: 'registry' });
  });
});

test('U-M4 --plain-http takes a host, and without a port it is for all of them', async () => {
  const settings = { upstreams: [], allowHosts: [], env: {} };
  const scope = { hosts: [], allowPrivate: true };
  await expect(
    openNetwork({ ...settings, plainHttp: ['http://127.0.0.1:15000'] }, scope),
  ).rejects.toMatchObject({
    code: 'USAGE',
    message: '--plain-http http://127.0.0.1:15000: write HOST[:PORT], without http://',
  });
  const registry = await startHttpServer((_, response) => response.end('{}'));
  onTestFinished(() => registry.close());
  const network = await openNetwork(
    { ...settings, plainHttp: ['127.0.0.1'] },
    { ...scope, hosts: [registry.host] },
  );
  onTestFinished(() => network.close());
  await network.registry(registry.host).ping();
  expect(registry.requests).toHaveLength(1);
});

/** A gate for one host and name, which leads to loopback. */
async function failed(
  host: string,
  options: Partial<ConstructorParameters<typeof HttpGate>[0]> = {},
  scheme = 'https',
) {
  const gate = new HttpGate({
    policy: { hosts: [host], plainHttp: [host], allowPrivate: true, upstreams: [] },
    lookup: async () => [{ address: '127.0.0.1', family: 4 }],
    ...options,
  });
  onTestFinished(() => gate.close());
  const request = gate.request({ method: 'GET', url: `${scheme}://${host}/v2/`, peer: 'registry' });
  return request.then(
    () => 'no failure',
    (error: Error) => error.message,
  );
}

async function listening(server: ReturnType<typeof createTcpServer>): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => new Promise<void>((resolve) => void server.close(() => resolve())));
  return (server.address() as AddressInfo).port;
}

const run = promisify(execFile);
const openssl = await run('openssl', ['version']).then(
  () => true,
  () => false,
);

describe.skipIf(!openssl)('C15 real certificates', () => {
  /** @param from and to as `openssl ca` takes them */
  async function server(from: string, to: string): Promise<{ readonly port: number; readonly cert: string }> {
    const at = (name: string, folder: string): string => join(folder, name);
    const folder = await temporaryFolder();
    await writeFile(at('index.txt', folder), '');
    await writeFile(
      at('ca.cnf', folder),
      `[ca]\ndefault_ca=d\n[d]\ndatabase=${at('index.txt', folder)}\nrand_serial=yes\nnew_certs_dir=${folder}\ndefault_md=sha256\npolicy=p\nx509_extensions=e\n[p]\ncommonName=supplied\norganizationName=supplied\n[e]\nsubjectAltName=DNS:registry.lab\n`,
    );
    const [key, csr, cert] = ['key.pem', 'csr.pem', 'cert.pem'].map((name) => at(name, folder)) as [
      string,
      string,
      string,
    ];
    const ec = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
    await run('openssl', ['req', '-new', ...ec, '-subj', '/O=The Lab/CN=lab', '-keyout', key, '-out', csr]);
    await run('openssl', [
      ...['ca', '-batch', '-selfsign', '-notext', '-config', at('ca.cnf', folder), '-keyfile', key],
      ...['-in', csr, '-out', cert, '-startdate', from, '-enddate', to],
    ]);
    const { readFile } = await import('node:fs/promises');
    const pem = await readFile(cert, 'utf8');
    const tls = createTlsServer({ key: await readFile(key), cert: pem }, (socket) => socket.end());
    tls.on('tlsClientError', () => undefined);
    return { port: await listening(tls), cert: pem };
  }

  test('expired: since when, and what this clock says', async () => {
    const { port, cert } = await server('20200101000000Z', '20200201000000Z');
    expect(await failed(`registry.lab:${port}`, { ca: [cert] })).toMatch(
      /CERT_HAS_EXPIRED\); it expired on Feb {2}1 00:00:00 2020 GMT: renew it, or correct the clock \(this host's clock says 20/,
    );
  });
  test('not yet valid: from when', async () => {
    const { port, cert } = await server('20490101000000Z', '20491201000000Z');
    expect(await failed(`registry.lab:${port}`, { ca: [cert] })).toMatch(
      /CERT_NOT_YET_VALID\); it is valid from Jan {2}1 00:00:00 2049 GMT; this host's clock says/,
    );
  });
  test('of an unknown authority: who issued it, with and without --ca-cert', async () => {
    const { port } = await server('20200101000000Z', '20491201000000Z');
    const other = await server('20200101000000Z', '20491201000000Z');
    expect(await failed(`registry.lab:${port}`)).toMatch(
      /it was issued by The Lab; if that is an authority of the site, name it with --ca-cert FILE$/,
    );
    expect(await failed(`registry.lab:${port}`, { ca: [other.cert] })).toMatch(
      /it was issued by The Lab; none of the authorities of --ca-cert issued it/,
    );
  });
  test('of another name: its names', async () => {
    const { port, cert } = await server('20200101000000Z', '20491201000000Z');
    expect(await failed(`other.lab:${port}`, { ca: [cert] })).toMatch(
      /it is for registry\.lab; name the registry so, or give it a certificate for other\.lab:/,
    );
  });
  test('plain HTTP to a server of TLS', async () => {
    const { port } = await server('20200101000000Z', '20491201000000Z');
    expect(await failed(`registry.lab:${port}`, {}, 'http')).toMatch(
      /if it speaks TLS, leave out --plain-http registry\.lab:/,
    );
  });
  test('A10 a proxy by https:// is spoken to by TLS, and its own certificate is told from that of the host', async () => {
    const { port, cert } = await server('20200101000000Z', '20491201000000Z');
    const proxy = { https: new URL(`https://ann:s3cret@localhost:${port}`), noProxy: [], flag: '--proxy' };
    const message = await failed('registry.lab', { ca: [cert], proxy });
    expect(message).toContain(`the proxy localhost:${port} (--proxy): TLS certificate refused`);
    expect(message).toContain('it is for registry.lab; use one of these in --proxy');
    expect(message).not.toContain('s3cret');
  });
});

describe('C7 real proxies', () => {
  const through = (port: number) => ({ proxy: { https: new URL(`http://127.0.0.1:${port}`), noProxy: [] } });
  test('nobody listens there', async () => {
    const gone = await startHttpServer(() => undefined);
    await gone.close();
    const port = Number(new URL(gone.url).port);
    expect(await failed('registry.lab', through(port))).toContain(
      `the proxy 127.0.0.1:${port} (HTTPS_PROXY): connection refused; check that it is running`,
    );
  });
  test.each([
    [407, 'it asks for a log-in'],
    [403, 'allow registry.lab in its configuration'],
    [502, 'it cannot reach registry.lab'],
  ])('it answers %i', async (status, says) => {
    const server = createServer();
    server.on('connect', (_, socket) => socket.end(`HTTP/1.1 ${status} No\r\ncontent-length: 0\r\n\r\n`));
    const port = await listening(server);
    expect(await failed('registry.lab', through(port))).toContain(
      `the proxy 127.0.0.1:${port} (HTTPS_PROXY): answers ${status}; ${says}`,
    );
  });
  test('its name is not known: it is the name of the proxy', async () => {
    const proxy = { https: new URL('http://proxy.invalid:3128'), noProxy: [] };
    expect(await failed('registry.lab', { proxy })).toMatch(
      /the proxy proxy\.invalid:3128 \(HTTPS_PROXY\): (?:the name is not known to DNS; check HTTPS_PROXY|DNS does not answer)/,
    );
  });
  test('plain HTTP through a proxy that wants a log-in', async () => {
    const server = createServer((_, response) => response.writeHead(407).end());
    const port = await listening(server);
    const proxy = { http: new URL(`http://127.0.0.1:${port}`), noProxy: [] };
    expect(await failed('registry.lab', { proxy }, 'http')).toContain(
      `the proxy 127.0.0.1:${port} (HTTP_PROXY): answers 407; it asks for a log-in`,
    );
  });
});
