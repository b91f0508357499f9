/** load into real registries: behind a proxy with a limit, with tokens, killed and dead in between. */
import { expect, onTestFinished, test } from 'vitest';
import { startRegistry } from './services/docker-registry.ts';
import { startNginx } from './services/nginx.ts';
import { describeWith, testWith } from './services/service-test.ts';
import { makeCertificates } from './services/tls.ts';
import { startTokenServer } from './services/token-server.ts';
import { cli, cliJson, startCli, startServe } from './support/cli.ts';
import { listing } from './support/files.ts';
import { type MadeBundle, makeBundle } from './support/made-bundle.ts';
import { digestAt } from './support/publish.ts';
import { type Workspace, workspace } from './support/workspace.ts';

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
  expect(denied.stderr).toMatch(/docker login, or --registry-config/);
  expect(await cliJson<Loaded>([...load, '--registry-config', auth])).toMatchObject({
    registry: { storedBlobs: 6 },
  });
  expect(tokens.requests.some(({ scopes }) => scopes.includes('repository:acme/tool:pull,push'))).toBe(true);
});

describeWith(['docker-registry'], 'a load that does not come to its end', () => {
  test('F34 SIGKILL between blobs: what is there is not sent again, and no name was published before', async () => {
    const sizes = Array.from({ length: 12 }, () => 4 * mebibyte);
    const bundle = await makeBundle({ [app]: sizes });
    const registry = await startRegistry();
    onTestFinished(() => registry.stop());
    const site = await workspace();
    const load = [...loadInto(bundle, registry, site), '--concurrency', '1'];
    const running = startCli(load);
    const stored = () =>
      (registry.log().match(/PUT \/v2\/acme\/app\/blobs\/uploads\/[^ ]+ HTTP\/1\.1" 201/g) ?? []).length;
    await running.until(() => stored() >= 4);
    running.kill('SIGKILL');
    await running.ended;
    const before = stored();
    expect(before).toBeLessThan(13);
    expect(await digestAt(registry, 'acme/app', 'v1')).toBeUndefined();
    const loaded = await cliJson<Loaded>(load);
    expect(loaded.registry.presentBlobs).toBeGreaterThanOrEqual(before - 1);
    expect(await digestAt(registry, 'acme/app', 'v1')).toBe(bundle.roots.get(app)?.digest);
  });

  test('F34 the registry dies and comes back', async () => {
    const bundle = await makeBundle({ [app]: [4 * mebibyte, 4 * mebibyte] });
    const registry = await startRegistry();
    const site = await workspace();
    await registry.stop();
    const dead = await cli(loadInto(bundle, registry, site));
    expect(dead.code).toBe(5);
    expect(dead.stderr).toContain(registry.host);
    expect(listing(site.root).some((name) => name.includes('receipt'))).toBe(false);
  });
});

test('the embedded registry takes all of it, and a full verification finds it whole', async () => {
  const bundle = await makeBundle(
    { [app]: [mebibyte, 20] },
    { 'kernel-amd64': mebibyte, 'initramfs-amd64.xz': 5000 },
  );
  const site = await workspace();
  const server = await startServe(['--writable', site.at('registry')]);
  onTestFinished(async () => void (await server.stop()));
  const load = [...loadInto(bundle, server, site), '--verify', 'full'];
  const loaded = await cliJson<{ readonly verifiedBytes: number }>(load);
  expect(loaded.verifiedBytes).toBeGreaterThan(2 * mebibyte);
});
