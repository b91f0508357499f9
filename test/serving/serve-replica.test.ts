/**
 * Replicas in front of a real registry with log-ins and a real bucket, after a real load: clients that are not ours pull from
 * either, and what one replica was told before it was killed, the other one knows.
 */
import { createHash, randomBytes } from 'node:crypto';
import { chmodSync, writeFileSync } from 'node:fs';
import { get } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { schematicFrom } from '../../packages/talos/src/index.ts';
import { startSampleUpstream } from '../../scripts/sample-upstream/sample-upstream.ts';
import { type CephGateway, cephCommands, startCeph } from '../services/ceph.ts';
import { type Registry, startRegistry } from '../services/docker-registry.ts';
import { describeWith } from '../services/service-test.ts';
import { temporaryFolder } from '../services/temporary.ts';
import { cli, cliJson, expectFailure, type RunningCli, startCli } from '../support/cli.ts';
import { copyAll } from '../support/skopeo.ts';
import { upstreamFlags, type Workspace, workspace } from '../support/workspace.ts';

const version = 'v1.13.9';
const carried = schematicFrom('customization: {}').id;
const secret =
  'customization:\n    extraKernelArgs:\n        - siderolink.api=grpc://omni.site:8090?jointoken=w7Kq9ZcanaryTokenOfAJoinxx\n';

describeWith(
  [...cephCommands, 'docker-registry', 'skopeo'],
  'two replicas over Distribution and Ceph',
  () => {
    let gateway: CephGateway;
    let registry: Registry;
    let site: Workspace;
    let flags: readonly string[];
    let env: Readonly<Record<string, string>>;
    let one: Replica;
    let two: Replica;

    interface Replica {
      readonly cli: RunningCli;
      readonly url: string;
    }

    const startReplica = async (...more: string[]): Promise<Replica> => {
      const serve = [
        'serve',
        ...flags,
        '--state-key',
        site.at('state.key'),
        '--listen',
        '127.0.0.1:0',
        '--json',
      ];
      const running = startCli([...serve, ...more], { env });
      await running.until(() => running.stdout().includes('\n'));
      return { cli: running, url: (JSON.parse(running.stdout()) as { url: string }).url };
    };

    beforeAll(async () => {
      gateway = await startCeph();
      await gateway.createBucket('talos');
      registry = await startRegistry({ auth: 'htpasswd' });
      const sample = await startSampleUpstream({ dir: temporaryFolder('upstream'), sizeMiB: 16, buildMs: 1 });
      site = await workspace(`
talos:
  versions: [${version}]
media:
  - {schematic: {customization: {}}, files: [metal-amd64.iso, kernel-amd64, initramfs-amd64.xz, cmdline-metal-amd64], installers: [metal]}
images: [ghcr.io/dexidp/dex:v2.41.1]
`);
      await cliJson(['fetch', ...site.store, ...upstreamFlags(sample.urls)]);
      await sample.stop();
      await cliJson(['bundle', ...site.bundle]);
      const { user, password } = registry.login ?? { user: '', password: '' };
      const auth = Buffer.from(`${user}:${password}`).toString('base64');
      writeFileSync(site.at('auth.json'), JSON.stringify({ auths: { [registry.host]: { auth } } }));
      writeFileSync(site.at('state.key'), `${randomBytes(32).toString('hex')}\n`);
      env = {
        AWS_ACCESS_KEY_ID: gateway.accessKeyId,
        AWS_SECRET_ACCESS_KEY: gateway.secretAccessKey,
        AWS_REGION: gateway.region,
      };
      flags = [
        ...['--registry', `${registry.host}/mirror`, '--plain-http', registry.host],
        ...['--registry-config', site.at('auth.json')],
        ...['--object-store', 's3://talos/site', '--s3-endpoint', gateway.url],
      ];
      const outputs = ['--state', site.at('state'), '--handoff', site.at('handoff')];
      await cliJson(['load', ...site.media, ...flags, ...outputs], { env });
      [one, two] = [await startReplica(), await startReplica()];
    }, 240_000);
    afterAll(async () => {
      one?.cli.kill('SIGKILL');
      two?.cli.kill('SIGKILL');
      await Promise.all([one?.cli.ended, two?.cli.ended]);
      await registry?.stop();
      await gateway?.stop();
    });

    const sha256 = async (url: string): Promise<string> => {
      const response = await fetch(url);
      expect(response.status, url).toBe(200);
      return createHash('sha256')
        .update(await response.bytes())
        .digest('hex');
    };

    test('are ready and healthy, and answer as the Image Factory', async () => {
      for (const { url } of [one, two]) {
        expect((await fetch(`${url}/readyz`)).status).toBe(200);
        expect(await (await fetch(`${url}/healthz`)).json()).toMatchObject({
          status: 'ok',
          targets: [
            { name: 'registry', ok: true },
            { name: 'object store', ok: true },
          ],
        });
        expect(await (await fetch(`${url}/versions`)).json()).toEqual([version]);
        expect(await (await fetch(`${url}/version/${version}/extensions/official`)).json()).not.toEqual([]);
        expect(await (await fetch(`${url}/pxe/${carried}/${version}/metal-amd64`)).text()).toContain(
          '#!ipxe',
        );
      }
    });

    test('skopeo pulls the installer by each of its names, and an image under both of its own', async () => {
      const digestOf = async ({ url }: Replica, name: string): Promise<string> =>
        (await copyAll(`docker://${new URL(url).host}/${name}`)).digest;
      const newest = await digestOf(one, `metal-installer/${carried}:${version}`);
      expect(await digestOf(two, `installer/${carried}:latest`)).toBe(newest);
      expect(await digestOf(two, `factory.talos.dev/metal-installer/${carried}:${version}`)).toBe(newest);
      expect(await digestOf(one, 'dexidp/dex:v2.41.1')).toBe(
        await digestOf(two, 'ghcr.io/dexidp/dex:v2.41.1'),
      );
    }, 60_000);

    test('a boot asset: the bytes of the medium, ranges of it, and a presigned URL of the store', async () => {
      const iso = `/image/${carried}/${version}/metal-amd64.iso`;
      const digest = await sha256(`${one.url}${iso}`);
      expect(await sha256(`${two.url}${iso}`)).toBe(digest);
      const whole = await (await fetch(`${one.url}${iso}`)).bytes();
      const part = await fetch(`${two.url}${iso}`, { headers: { range: 'bytes=1000-1999' } });
      expect([part.status, Buffer.from(await part.bytes()).equals(whole.subarray(1000, 2000))]).toEqual([
        206,
        true,
      ]);
      const redirecting = await startReplica('--redirect', '--s3-public-endpoint', gateway.url);
      try {
        const answer = await fetch(`${redirecting.url}${iso}?filename=site.iso`, { redirect: 'manual' });
        expect([answer.status, answer.headers.get('location')?.startsWith(gateway.url)]).toEqual([307, true]);
        const there = await fetch(`${redirecting.url}${iso}?filename=site.iso`);
        expect(there.headers.get('content-disposition')).toBe('attachment; filename="site.iso"');
        expect(
          createHash('sha256')
            .update(await there.bytes())
            .digest('hex'),
        ).toBe(digest);
        // The registry asks for a log-in, which clients of a replica do not have.
        const { host } = new URL(redirecting.url);
        expect((await copyAll(`docker://${host}/dexidp/dex:v2.41.1`)).digest).toMatch(/^sha256:/);
      } finally {
        redirecting.cli.kill('SIGKILL');
        await redirecting.cli.ended;
      }
    }, 60_000);

    test('SIGKILL after the answer: the other one has the schematic and the wish', async () => {
      const killed = await startReplica();
      const response = await fetch(`${killed.url}/schematics`, { method: 'POST', body: secret });
      expect(response.status).toBe(201);
      const { id } = (await response.json()) as { id: string };
      expect(await (await fetch(`${killed.url}/image/${id}/${version}/metal-amd64.iso`)).text()).toContain(
        'the wish was recorded',
      );
      killed.cli.kill('SIGKILL');
      await killed.cli.ended;
      expect(await (await fetch(`${two.url}/schematics/${id}`)).text()).toBe(secret);
      const { wishes } = (await (await fetch(`${two.url}/wants.json`)).json()) as { wishes: object[] };
      expect(wishes).toContainEqual(expect.objectContaining({ kind: 'media', schematic: id }));
      const stored = await gateway.request(`talos/site/omni-airgap/schematics/${id}`);
      expect(Buffer.from(await stored.bytes()).toString('latin1')).not.toContain('jointoken');
      const fragment = await cli(['wants', '--from', two.url]);
      expect(fragment.stdout).toContain(id);
      expect(fragment.stdout).not.toContain('canaryToken');
    });

    test('SIGTERM: not ready at once, what is under way ends whole, then the process', async () => {
      const ending = await startReplica('--drain-timeout', '30s');
      const iso = `${ending.url}/image/${carried}/${version}/metal-amd64.iso`;
      const hash = createHash('sha256');
      const { promise: begun, resolve } = Promise.withResolvers<() => Promise<string>>();
      get(iso, (response) => {
        response.pause();
        resolve(async () => {
          for await (const chunk of response) hash.update(chunk as Uint8Array);
          return hash.digest('hex');
        });
      });
      const rest = await begun;
      ending.cli.kill('SIGTERM');
      await expect
        .poll(async () => (await fetch(`${ending.url}/readyz`)).status, { timeout: 2_500, interval: 50 })
        .toBe(503);
      // Load balancers look every second or two; who comes meanwhile is answered.
      expect((await fetch(`${ending.url}/v2/`)).status).toBe(200);
      await sleep(3_500);
      expect(await rest()).toBe(await sha256(iso.replace(ending.url, two.url)));
      expect((await ending.cli.ended).code).toBe(0);
    }, 60_000);

    test('pushing is refused with the name of the registry, and skopeo says it', async () => {
      const response = await fetch(`${one.url}/v2/app/blobs/uploads/`, { method: 'POST' });
      expect([response.status, await response.text()]).toEqual([
        405,
        expect.stringContaining(`push to ${registry.host}/mirror`),
      ]);
    });

    test('the page says what it stands in front of', async () => {
      const page = await (await fetch(`${one.url}/`)).text();
      expect(page).toContain(`${registry.host}/mirror`);
      expect(page).toContain('s3://talos/site');
      expect(page).toContain('dexidp/dex');
    });
  },
);

describe('flags that do not belong together', () => {
  test.each([
    [['--registry', 'r.site', '--bundle', '/nowhere'], '--registry and --bundle cannot be combined'],
    [['--registry', 'r.site', '--store', '/nowhere'], '--registry and --store cannot be combined'],
    [['--registry', 'r.site', '--writable', '/nowhere'], '--registry and --writable cannot be combined'],
    [['--object-store', 's3://talos'], '--object-store needs --registry'],
    [['--state-key', 'x'], '--state-key needs --registry'],
    [['--redirect'], '--redirect needs --registry'],
    [
      ['--registry', 'r.site', '--s3-public-endpoint', 'https://s3.site'],
      '--s3-public-endpoint needs --redirect',
    ],
    [['--registry', 'https://r.site'], 'leave the scheme out'],
    [['--registry', 'r.site', '--object-store', 'file:///srv'], 'not from a folder'],
  ])('%j', async (args, message) => {
    const ended = await cli(['serve', ...args]);
    expectFailure(ended, 2, /\[USAGE\]$/);
    expect(ended.stderr).toContain(message);
  });

  test('a state key of the wrong length', async () => {
    const file = (await workspace()).write('state.key', 'short');
    chmodSync(file, 0o600);
    const ended = await cli(['serve', '--registry', 'r.site', '--state-key', file]);
    expectFailure(ended, 2, /not 32 bytes or 64 hex digits; make one with openssl rand -hex 32 \[CONFIG\]$/);
  });
});
