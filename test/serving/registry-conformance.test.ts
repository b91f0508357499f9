/**
 * The conformance suite of the OCI distribution specification against `serve` (writable and read-only) and against the
 * registry double of our own tests. It is a Go program and no package that could be pinned, so it runs where
 * OCI_CONFORMANCE names the `conformance` folder of a checkout of opencontainers/distribution-spec. Its cases are also
 * tests of ours, in packages/server/test, which run everywhere.
 */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { startRegistryDouble } from '../../packages/oci/src/testing/index.ts';
import { passwordHash } from '../../packages/pki/src/log-ins.ts';
import { newLayout, putImage, putIndex, start } from '../../packages/server/test/support.ts';
import { temporaryFolder } from '../services/temporary.ts';

const checkout = process.env['OCI_CONFORMANCE'] ?? '';
const skipReason =
  checkout === ''
    ? 'OCI_CONFORMANCE does not name the conformance folder of a checkout of opencontainers/distribution-spec'
    : existsSync(join(checkout, 'go.mod'))
      ? ''
      : `${checkout} holds no go.mod`;

/** What the suite is told of every registry of ours: other digests than sha256 are answered as unsupported. */
const common = {
  OCI_TLS: 'disabled',
  OCI_VERSION: '1.1',
  OCI_DATA_SHA512: 'false',
} as const;

function run(program: string, args: readonly string[], cwd: string, env: object): Promise<string> {
  const options = { cwd, env: { ...process.env, ...env }, timeout: 600_000, maxBuffer: 64 * 1024 * 1024 };
  return new Promise((resolve, reject) => {
    execFile(program, args, options, (error, stdout, stderr) => {
      // It ends with 1 when a case failed, and dies writing its report file when it may not push; it has said all by then.
      if (error === null || stdout.includes('OCI Conformance Result')) resolve(stdout);
      else reject(new Error(`${program}: ${error.message} ${stderr}`));
    });
  });
}

function conformance(): void {
  let suite: string;

  beforeAll(async () => {
    suite = join(temporaryFolder('conformance'), 'suite');
    await run('go', ['build', '-buildvcs=false', '-o', suite, '.'], checkout, {});
  }, 600_000);

  /** Lines that name a failed case or say why, and how many passed. */
  async function check(url: string, env: Readonly<Record<string, string>>) {
    const folder = temporaryFolder('conformance-results');
    const registry = new URL(url).host;
    const settings = { ...common, OCI_REGISTRY: registry, OCI_RESULTS_DIR: folder, ...env };
    const output = await run(suite, [], folder, settings);
    return {
      output,
      failed: output
        .split('\n')
        .filter((line) => /: (?:FAIL|Error)$|^ +- .*(?:unexpected|mismatch|failed)/.test(line)),
      passed: Number(/^ {2}Pass\.*: +(\d+)$/m.exec(output)?.[1] ?? 0),
    };
  }

  // Of content that it has not pushed itself, the suite does not look at the digest header.
  const pushing = {
    OCI_API_BLOBS_UPLOAD_CANCEL: 'true',
    OCI_API_BLOBS_DIGEST_HEADER: 'true',
    OCI_API_MANIFESTS_DIGEST_HEADER: 'true',
  } as const;

  const [user, password] = ['site', 'correct horse: battery'];

  test.each([
    { flags: 'serve --writable', requireLogin: undefined },
    { flags: 'serve --writable --htpasswd', requireLogin: false },
    { flags: 'serve --writable --htpasswd --require-login', requireLogin: true },
  ])('$flags', async ({ requireLogin }) => {
    const logIns = new Map([[user, await passwordHash(password)]]);
    const access = requireLogin === undefined ? undefined : { logIns, requireLogin };
    const { url, log } = await start({ writable: await newLayout(), access, metrics: {} });
    const logIn = access === undefined ? {} : { OCI_USERNAME: user, OCI_PASSWORD: password };
    const { failed, passed } = await check(url, { ...pushing, ...logIn });
    expect(failed).toEqual([]);
    expect(passed).toBeGreaterThan(500);
    const pushes = log.filter(({ method, status }) => method === 'PUT' && status === 201);
    expect(new Set(pushes.map((entry) => entry.user))).toEqual(new Set([access && user]));
  });

  // What is refused for its digest must not use up the uploads of what comes after it.
  test('P6 serve --writable, with sha512 as by default: twice, and no upload is one too many', async () => {
    const { url } = await start({ writable: await newLayout() });
    for (let i = 0; i < 2; i++) {
      const { output, passed } = await check(url, { ...pushing, OCI_DATA_SHA512: 'true' });
      expect(output).toMatch(/sha512.*FAIL$/m);
      expect(output).not.toContain('received 429');
      expect(passed).toBeGreaterThan(500);
    }
  });

  test('serve, read-only (F55 serve.conformance)', async () => {
    const layout = await newLayout();
    const image = await putImage(layout, undefined, Buffer.from('layer '.repeat(1000)));
    const index = await putIndex(layout, 'ghcr.io/siderolabs/omni:v1.0.0', [image.manifest]);
    const signature = { subject: index, artifactType: 'application/vnd.example.signature' };
    const signed = await putImage(layout, 'ghcr.io/siderolabs/omni:signed', Buffer.from('a'), signature);
    const { url } = await start({ source: layout });
    const { failed, passed } = await check(url, {
      OCI_REPO1: 'siderolabs/omni',
      OCI_API_PUSH: 'false',
      OCI_API_BLOBS_DELETE: 'false',
      OCI_API_MANIFESTS_DELETE: 'false',
      OCI_API_TAGS_DELETE: 'false',
      OCI_RO_DATA_TAGS: 'v1.0.0 signed',
      OCI_RO_DATA_MANIFESTS: [index, image.manifest, signed.manifest].map(({ digest }) => digest).join(' '),
      OCI_RO_DATA_BLOBS: [image.layer, image.config].map(({ digest }) => digest).join(' '),
      OCI_RO_DATA_REFERRERS: index.digest,
    });
    expect(failed).toEqual([]);
    expect(passed).toBeGreaterThan(10);
  });

  test('the registry double of our tests', async () => {
    const double = await startRegistryDouble();
    onTestFinished(() => double.close());
    const { failed, passed } = await check(double.url, pushing);
    expect(failed).toEqual([]);
    expect(passed).toBeGreaterThan(500);
  });
}

const title = 'conformance suite of distribution-spec 1.1';
if (skipReason === '') describe(title, conformance);
else test(title, (context) => context.skip(skipReason));
