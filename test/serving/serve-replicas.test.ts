/**
 * Stateless replicas behind a balancer, with real software around them: Distribution and Ceph's gateway, filled by `load`;
 * haproxy with the configuration of docs/scaling.md; podman, skopeo, and clients that pull as containerd does. Replicas are
 * killed and stopped while they send.
 */
import { randomBytes } from 'node:crypto';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { kubernetesVersion } from '../../scripts/sample-upstream/versions.ts';
import { command } from '../services/command.ts';
import { describeWith } from '../services/service-test.ts';
import { temporaryFolder } from '../services/temporary.ts';
import { download, type Fetched, pullImage } from '../support/containerd-client.ts';
import {
  type Balancer,
  type Replica,
  type ReplicatedSite,
  replicatedSiteCommands,
  startReplicatedSite,
} from '../support/replicated-site.ts';

const largeMiB = 64;
/** Of each kind of client. */
const pairs = 2;

describeWith([...replicatedSiteCommands, 'podman', 'skopeo'], 'replicas', () => {
  let site: ReplicatedSite;
  let replicas: readonly Replica[];
  let balancer: Balancer;
  let flags: readonly string[];

  beforeAll(async () => {
    site = await startReplicatedSite(largeMiB);
    const stateKey = join(temporaryFolder('state-key'), 'state.key');
    writeFileSync(stateKey, randomBytes(32).toString('hex'), { mode: 0o600 });
    flags = ['--state-key', stateKey, '--trusted-proxy', '127.0.0.1'];
    replicas = await Promise.all(Array.from({ length: 3 }, () => site.replica(...flags)));
    balancer = await site.balance(replicas);
  });
  afterAll(() => site?.stop());

  const replica = (i: number): Replica => {
    const one = replicas[i];
    if (one === undefined) throw new Error(`no replica ${i}`);
    return one;
  };

  /** Clients that stop in the middle of a large body, until they are let on. */
  async function midway(): Promise<{ letOn(): void; readonly done: Promise<readonly Fetched[]> }> {
    const gate = Promise.withResolvers<void>();
    let waiting = 0;
    const inBody = (): Promise<void> => {
      waiting++;
      return gate.promise;
    };
    const pair = (): readonly Promise<readonly Fetched[]>[] => [
      pullImage(balancer.url, 'acme/large', 'v1', { ns: 'quay.io', inBody }),
      download(`${balancer.url}${site.iso.path}`, site.iso.digest, site.iso.size, inBody).then((one) => [
        one,
      ]),
    ];
    const done = Promise.all(Array.from({ length: pairs }, pair).flat()).then((all) => all.flat());
    await Promise.race([expect.poll(() => waiting, { timeout: 60_000 }).toBe(2 * pairs), done]);
    return { letOn: () => gate.resolve(), done };
  }

  /** The same, and some of them are at this server of the balancer, which has no other request now. */
  async function midwayAt(server: string): ReturnType<typeof midway> {
    const groups = [await midway()];
    while ((await balancer.sessions(server)) === 0) groups.push(await midway());
    return {
      letOn: () => {
        for (const { letOn } of groups) letOn();
      },
      done: Promise.all(groups.map(({ done }) => done)).then((all) => all.flat()),
    };
  }

  /** Other clients at the same time, which read as fast as they can. */
  function busy(): Promise<unknown> {
    return Promise.all([
      ...Array.from({ length: pairs }, () =>
        pullImage(balancer.url, 'siderolabs/kubelet', kubernetesVersion, { ns: 'ghcr.io' }),
      ),
      podmanPull('acme/large:v1'),
      skopeoCopy('acme/large:v1'),
      skopeoCopy(`kube-proxy:${kubernetesVersion}`),
    ]);
  }

  async function podmanPull(image: string): Promise<void> {
    const folder = temporaryFolder('podman');
    // It takes no more than 50 characters.
    const run = mkdtempSync(join(tmpdir(), 'run-'));
    const own = ['--root', join(folder, 'root'), '--runroot', run, '--storage-driver', 'vfs'];
    const alone = ['--events-backend', 'none', '--cgroup-manager', 'cgroupfs'];
    const { host } = new URL(balancer.url);
    await command('podman', [...own, ...alone, 'pull', '--quiet', '--tls-verify=false', `${host}/${image}`]);
  }

  async function skopeoCopy(image: string): Promise<void> {
    const copy = ['--insecure-policy', 'copy', '--quiet', '--retry-times', '3', '--src-tls-verify=false'];
    const { host } = new URL(balancer.secureUrl);
    const target = join(temporaryFolder('skopeo'), 'image');
    await command('skopeo', [...copy, `docker://${host}/${image}`, `dir:${target}`]);
  }

  /** Makes schematics, one after the other, and reads each back; both through the balancer. */
  function posting(): { stop(): Promise<readonly (readonly [posted: number, read: number])[]> } {
    let isOver = false;
    const done = (async () => {
      const statuses: (readonly [number, number])[] = [];
      while (!isOver || statuses.length === 0) {
        const body = schematic(`console=tty${randomBytes(8).toString('hex')}`);
        const posted = await fetch(`${balancer.url}/schematics`, { method: 'POST', body });
        const { id } = (await posted.json()) as { id: string };
        const read = await fetch(`${balancer.url}/schematics/${id}`);
        await read.text();
        statuses.push([posted.status, read.status]);
        await sleep(150);
      }
      return statuses;
    })();
    // A test that fails before it stops this says so itself.
    done.catch(() => undefined);
    return {
      stop: () => {
        isOver = true;
        return done;
      },
    };
  }

  const schematic = (argument: string): string =>
    `customization:\n    extraKernelArgs:\n        - ${argument}\n`;

  async function post(to: Replica, body: string): Promise<string> {
    const answer = await fetch(`${to.url}/schematics`, { method: 'POST', body });
    expect(answer.status).toBe(201);
    return ((await answer.json()) as { id: string }).id;
  }

  const resumesOf = (fetched: readonly Fetched[]): readonly number[] =>
    fetched.map(({ resumes }) => resumes).filter((resumes) => resumes > 0);

  /** No body broke off twice, and some did once. */
  function expectOneResume(fetched: readonly Fetched[]): void {
    expect(new Set(resumesOf(fetched))).toEqual(new Set([1]));
  }

  test('kill -9 in the middle of bodies: every client ends well after one resume, and no schematic is lost', async () => {
    const clients = await midwayAt('replica-1');
    const schematics = posting();
    const unaware = busy();
    replica(0).kill('SIGKILL');
    await replica(0).ended();
    clients.letOn();
    expectOneResume(await clients.done);
    await unaware;
    expect(new Set((await schematics.stop()).flat())).toEqual(new Set([201, 200]));
    await replica(0).start();
    await balancer.up(3);
  });

  test('SIGTERM in the middle of bodies: who reads meanwhile and who stalls end well after one resume', async () => {
    const stalling = await midwayAt('replica-2');
    const reading = await midway();
    const schematics = posting();
    replica(1).kill('SIGTERM');
    const unaware = busy();
    reading.letOn();
    // On a busy machine ten seconds may be too short for all that they still have to read.
    expect(Math.max(0, ...resumesOf(await reading.done))).toBeLessThanOrEqual(1);
    // Answers that nobody reads are cut when the time is over.
    expect((await replica(1).ended()).code).toBe(0);
    stalling.letOn();
    expectOneResume(await stalling.done);
    await unaware;
    expect(new Set((await schematics.stop()).flat())).toEqual(new Set([201, 200]));
    await replica(1).start();
    await balancer.up(3);
  });

  test('taken out as the page has it, a replica is stopped and nobody notices', async () => {
    const clients = await midwayAt('replica-3');
    expect(await balancer.ask('set server replicas/replica-3 state drain')).toBe('');
    const schematics = posting();
    clients.letOn();
    expect(resumesOf(await clients.done)).toEqual([]);
    await expect.poll(() => balancer.sessions('replica-3'), { timeout: 60_000 }).toBe(0);
    replica(2).kill('SIGTERM');
    expect((await replica(2).ended()).code).toBe(0);
    await replica(2).start();
    await balancer.ask('set server replicas/replica-3 state ready');
    await balancer.up(3);
    expect(new Set((await schematics.stop()).flat())).toEqual(new Set([201, 200]));
  });

  test('a schematic that one replica made is known to all, and no store shows its secret', async () => {
    const secret = `token-${randomBytes(16).toString('hex')}`;
    const plain = schematic('console=ttyS1');
    const secretive = schematic(`siderolink.api=https://omni.site?jointoken=${secret}`);
    for (const text of [plain, secretive]) {
      const id = await post(replica(0), text);
      for (const one of replicas) {
        const answer = await fetch(`${one.url}/schematics/${id}`);
        expect([answer.status, await answer.text()]).toEqual([200, text]);
      }
    }
    const objects = [...(await site.objects('boot')), ...(await site.objects('registry'))];
    expect(objects.length).toBeGreaterThan(20);
    expect(objects.filter(({ text }) => text.includes('console=ttyS1'))).not.toEqual([]);
    expect(objects.filter(({ text }) => text.includes(secret)).map(({ key }) => key)).toEqual([]);
    for (const { log } of replicas) expect(log()).not.toContain(secret);
  });

  test('what one replica was asked for in vain is in the list of each', async () => {
    const missing = 'siderolabs/omni/manifests/v9.9.9?ns=ghcr.io';
    expect((await fetch(`${replica(0).url}/v2/${missing}`)).status).toBe(404);
    for (const { url } of replicas) {
      const list = async (): Promise<string> => (await fetch(`${url}/wants.yaml`)).text();
      await expect.poll(list, { timeout: 20_000 }).toContain('ghcr.io/siderolabs/omni:v9.9.9');
    }
  });

  test('pushes and deletions are answered with 405, and the answer names the registry', async () => {
    for (const [method, path] of [
      ['POST', 'acme/app/blobs/uploads/'],
      ['PUT', 'acme/app/manifests/v1'],
      ['DELETE', 'acme/large/manifests/v1'],
    ] as const) {
      const answer = await fetch(`${balancer.url}/v2/${path}`, { method });
      expect([method, answer.status]).toEqual([method, 405]);
      expect(await answer.text()).toContain(`${site.registry.host}/${site.prefix}`);
    }
  });

  test('with --redirect, bodies come from the stores: the same bytes, and none through the replica', async () => {
    const redirecting = await site.replica(...flags, '--redirect', '--s3-public-endpoint', site.gateway.url);
    const { iso } = site;
    await download(`${redirecting.url}${iso.path}`, iso.digest, iso.size);
    const fetched = await pullImage(redirecting.url, 'acme/large', 'v1', { ns: 'quay.io' });
    expect(Math.max(...fetched.map(({ size }) => size))).toBe(site.largeBytes);
    const head = await fetch(`${redirecting.url}${iso.path}`, { method: 'HEAD', redirect: 'manual' });
    expect([head.status, head.headers.get('content-length')]).toEqual([200, String(iso.size)]);
    const sent = [...redirecting.log().matchAll(/ path=\S+ status=(\d+) bytes=(\d+) /g)];
    expect(sent.map(([, status]) => status)).toContain('307');
    expect(Math.max(...sent.map(([, , bytes]) => Number(bytes)))).toBeLessThan(1024 * 1024);
  });
});
