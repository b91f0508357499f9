/** load into real registries as sites run them: behind a proxy with a limit, with tokens, and dead. */
import { chmodSync } from 'node:fs';
import { expect, onTestFinished } from 'vitest';
import { startRegistry } from '../services/docker-registry.ts';
import { startNginx } from '../services/nginx.ts';
import { testWith } from '../services/service-test.ts';
import { makeCertificates } from '../services/tls.ts';
import { startTokenServer } from '../services/token-server.ts';
import { cli, cliJson, expectFailure } from '../support/cli.ts';
import { listing } from '../support/files.ts';
import { type MadeBundle, makeBundle } from '../support/made-bundle.ts';
import { digestAt } from '../support/publish.ts';
import { type Workspace, workspace } from '../support/workspace.ts';

const mebibyte = 1024 * 1024;
const app = 'ghcr.io/acme/app:v1';

interface Loaded {
  readonly registry: {
    readonly storedBlobs: number;
    readonly storedBytes: number;
    readonly presentBlobs: number;
  };
}

/** The command, with everything it writes below the site's folder. */
const loadInto = (
  { flags }: MadeBundle,
  { host }: { readonly host: string },
  site: Workspace,
): readonly string[] => [
  ...['load', ...flags, '--registry', host, '--plain-http', host],
  ...['--state', site.at('state'), '--handoff', site.at('handoff')],
];

testWith(
  ['docker-registry', 'nginx', 'openssl'],
  'F39 nginx lets 10 MB through, TLS by the site’s own authority: chunks',
  async () => {
    const bundle = await makeBundle({ [app]: [30 * mebibyte, 12 * mebibyte, 1000] });
    const certificates = await makeCertificates('127.0.0.1');
    const registry = await startRegistry();
    const nginx = await startNginx({ behind: registry.host, certificates, maxBody: '10m' });
    onTestFinished(async () => {
      await nginx.stop();
      await registry.stop();
      certificates.dispose();
    });
    const site = await workspace();
    const own = ['--state', site.at('state'), '--handoff', site.at('handoff')];
    const load = [
      'load',
      ...bundle.flags,
      '--registry',
      nginx.host,
      '--ca-cert',
      certificates.caFile,
      ...own,
    ];
    const loaded = await cliJson<Loaded>([...load, '--concurrency', '1', '--verify', 'full']);
    expect(loaded.registry.storedBytes).toBeGreaterThan(42 * mebibyte);
    expect(await digestAt(registry, 'acme/app', 'v1')).toBe(bundle.roots.get(app)?.digest);
    const refused = nginx.log().match(/ 413 /g) ?? [];
    // What was refused once is not tried with the next blob.
    expect(refused.length).toBeLessThanOrEqual(3);
    expect(await cliJson<Loaded>(load)).toMatchObject({ registry: { storedBlobs: 0 } });
  },
);

testWith(
  ['docker-registry', 'nginx', 'openssl'],
  'S5 a front end that wants a client certificate and redirects uploads to another address of the registry',
  async () => {
    const bundle = await makeBundle({ [app]: [3 * mebibyte, 1000] });
    const certificates = await makeCertificates('127.0.0.1');
    const registry = await startRegistry();
    const back = await startNginx({ behind: registry.host, certificates, maxBody: '0' });
    const front = await startNginx({
      ...{ behind: registry.host, certificates, maxBody: '1m' },
      uploadsTo: back.host,
      clientsOf: certificates.ca,
    });
    onTestFinished(async () => {
      await Promise.all([front.stop(), back.stop(), registry.stop()]);
      certificates.dispose();
    });
    const site = await workspace();
    const load = [
      ...['load', ...bundle.flags, '--registry', front.host, '--ca-cert', certificates.caFile],
      ...['--state', site.at('state'), '--handoff', site.at('handoff')],
    ];
    const stranger = await cli(load);
    expectFailure(stranger, 5, /400.*client certificate: specify --client-cert FILE and --client-key FILE/);
    const key = site.write('key.pem', certificates.key);
    chmodSync(key, 0o600);
    const known = [
      ...load,
      ...['--client-cert', site.write('cert.pem', certificates.cert)],
      ...['--client-key', key],
    ];
    // The other address must be allowed, as for any redirect.
    expectFailure(await cli(known), 4, new RegExp(`a redirect \\(308\\).*--allow-host ${back.host}`));
    const loaded = await cliJson<Loaded>([...known, '--allow-host', back.host, '--verify', 'full']);
    expect(loaded.registry.storedBlobs).toBe(4);
    expect(await digestAt(registry, 'acme/app', 'v1')).toBe(bundle.roots.get(app)?.digest);
    expect(front.log()).toMatch(/^POST .* 308 /m);
    expect(back.log()).toMatch(/^P(?:UT|ATCH) .* 20[1-4] /m);
  },
);

testWith(['docker-registry', 'openssl'], 'tokens of a registry, asked for each repository', async () => {
  const bundle = await makeBundle({ [app]: [2 * mebibyte], 'quay.io/acme/tool:v2': [2 * mebibyte] });
  const tokens = await startTokenServer();
  const registry = await startRegistry({ auth: tokens });
  onTestFinished(async () => {
    await registry.stop();
    await tokens.stop();
  });
  const site = await workspace();
  const login = Buffer.from(`${tokens.login.user}:${tokens.login.password}`).toString('base64');
  const auth = site.write('auth.json', JSON.stringify({ auths: { [registry.host]: { auth: login } } }));
  const tokenHost = new URL(tokens.url).host;
  const load = [
    ...loadInto(bundle, registry, site),
    ...['--plain-http', tokenHost, '--allow-host', tokenHost],
  ];
  const denied = await cli(load);
  expect(denied.code).toBe(5);
  expect(denied.stderr).toMatch(
    /no credentials for [0-9.:]+ in .*docker login [0-9.:]+, or --registry-config FILE/,
  );
  expect(await cliJson<Loaded>([...load, '--registry-config', auth])).toMatchObject({
    registry: { storedBlobs: 6 },
  });
  expect(tokens.requests.some(({ scopes }) => scopes.includes('repository:acme/tool:pull,push'))).toBe(true);
});

testWith(
  ['docker-registry'],
  'F34 the registry is dead: its name is said, and nothing claims that it was loaded',
  async () => {
    const bundle = await makeBundle({ [app]: [4 * mebibyte, 4 * mebibyte] });
    const registry = await startRegistry();
    const site = await workspace();
    await registry.stop();
    const dead = await cli(loadInto(bundle, registry, site));
    expect(dead.code).toBe(5);
    expect(dead.stderr).toContain(registry.host);
    expect(listing(site.root).some((name) => name.includes('receipt'))).toBe(false);
  },
);

testWith(
  ['docker-registry'],
  'P1 an image that Distribution 2.8 refuses: the others are loaded, exit code 5; with --except 0',
  async () => {
    const [odd, other] = ['ghcr.io/acme/odd:v1', 'ghcr.io/acme/other:v1'];
    const bundle = await makeBundle({ [app]: [1000], [odd]: [1000], [other]: [1000] }, {}, [odd]);
    const registry = await startRegistry();
    onTestFinished(() => registry.stop());
    const site = await workspace();
    const load = [...loadInto(bundle, registry, site), '--receipt', site.at('receipt.json')];
    const partial = await cli(load);
    expectFailure(
      partial,
      5,
      /not loaded: ghcr.io\/acme\/odd:v1; everything else is loaded.*--except \[INCOMPLETE\]$/,
    );
    expect(partial.stdout).toMatch(/Refused: .*answers 400: MANIFEST_INVALID.*\n {4}ghcr.io\/acme\/odd:v1\n/);
    expect(partial.stdout).toMatch(/--since carry the receipt/);
    for (const name of [app, other]) {
      const path = name.replace('ghcr.io/', '').replace(':v1', '');
      expect(await digestAt(registry, path, 'v1')).toBe(bundle.roots.get(name)?.digest);
    }
    const document = JSON.parse((await cli([...load, '--json'])).stdout) as { missing: unknown };
    expect(document.missing).toMatchObject([{ name: odd, why: 'refused', code: 'UPSTREAM' }]);
    const without = await cli([...load, '--except', odd]);
    expect(without.code, without.stderr).toBe(0);
    expect(without.stdout).toContain('Left out by --only and --except: 1 name.');
  },
);
