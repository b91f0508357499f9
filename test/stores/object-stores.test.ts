/** load into every object store that is found: what each of them ends up with is read and hashed by another reader. */
import { readFileSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, onTestFinished, test } from 'vitest';
import { hostsOf } from '../../packages/objects/src/open-sink.ts';
import { S3Sink } from '../../packages/objects/src/s3-sink.ts';
import { HttpGate } from '../../packages/oci/src/http/gate.ts';
import { descriptorOf, Hasher } from '../../packages/oci/src/model/index.ts';
import { startNginx } from '../services/nginx.ts';
import { signedFetch } from '../services/signed-fetch.ts';
import { makeCertificates } from '../services/tls.ts';
import { cli, cliJson, expectFailure, startCli } from '../support/cli.ts';
import { listing } from '../support/files.ts';
import { type Front, type FrontRequest, startFront } from '../support/front.ts';
import { readObjects } from '../support/site-reader.ts';
import { type Workspace, workspace } from '../support/workspace.ts';
import { type StoreBundle, type StoreBundles, storeBundles } from './bundles.ts';
import { objectStores, type RunningObjectStore } from './object-stores.ts';
import { describeEach } from './program.ts';

interface Loaded {
  readonly objectsStored: number;
  readonly objectsPresent: number;
}

/** A PUT of an object or a part, but for the few bytes that the preflight tries. */
const stores = ({ method, path }: FrontRequest): boolean =>
  method === 'PUT' && !path.includes('/omni-airgap-probe-');
const partOf = ({ method, path }: FrontRequest): string | undefined =>
  method === 'PUT' ? /[?&]partNumber=(\d+)/.exec(path)?.[1] : undefined;

describeEach(objectStores, (program, path) => {
  const { authenticates, comparesBytes, listsParts, hasPolicies, hasRetention, domain, start } = program;
  let bundles: StoreBundles;
  let site: Workspace;
  let store: RunningObjectStore;
  let front: Front;
  let env: Readonly<Record<string, string>>;
  const targetOf = (prefix: string, endpoint = front.url): readonly string[] => [
    ...['--object-store', `s3://talos${prefix}`, '--s3-endpoint', endpoint],
  ];
  const load = ({ flags }: StoreBundle, prefix: string, endpoint?: string): readonly string[] => [
    ...['load', ...flags, ...targetOf(prefix, endpoint)],
    ...['--state', site.at(`state${prefix}`), '--handoff', site.at('handoff')],
  ];
  const request = (path: string, method = 'GET'): Promise<Response> =>
    signedFetch(new URL(`${store.url}/${path}`), store.key, { method });
  const expectAll = async ({ files }: StoreBundle, prefix: string): Promise<void> => {
    expect((await readObjects(`${store.url}/talos${prefix}`, store.key, files)).wrong).toEqual([]);
  };
  /** Keys of the bucket below a prefix. */
  const keysBelow = async (prefix: string): Promise<readonly string[]> => {
    const answer = await request(`talos?list-type=2&prefix=${prefix.slice(1)}`);
    return [...(await answer.text()).matchAll(/<Key>([^<]+)<\/Key>/g)].map(([, key = '']) => key);
  };

  beforeAll(async () => {
    bundles = await storeBundles();
    site = await workspace();
    store = await start(path);
    front = await startFront({ '/': store.url });
    const { accessKeyId, secretAccessKey, region } = store.key;
    env = { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey, AWS_REGION: region };
    const made = await request('talos', 'PUT');
    expect(made.status, await made.text()).toBe(200);
  });
  beforeEach(() => {
    front.fault = () => undefined;
  });
  afterAll(async () => {
    await front?.stop();
    await store?.stop();
  });

  test('egress check --inside finds nothing that does not work, and leaves nothing', async () => {
    const check = ['egress', 'check', '--inside', ...targetOf('/check')];
    const { ok, findings } = await cliJson<{
      ok: boolean;
      findings: readonly { what: string; state: string }[];
    }>(check, { env });
    expect(findings.filter(({ state }) => state === 'failed')).toEqual([]);
    expect(ok).toBe(true);
    expect(findings.find(({ what }) => what === 'wrong bytes')?.state).toBe(comparesBytes ? 'ok' : 'note');
    expect(await keysBelow('/check')).toEqual([]);
  });

  test('a dry run stores nothing; a load stores everything, a second one nothing', async () => {
    const plan = await cliJson<{ readonly bytes: number }>([...load(bundles.base, '/site'), '--dry-run'], {
      env,
    });
    expect(plan.bytes).toBeGreaterThan(40 * 1024 * 1024);
    expect(await keysBelow('/site')).toEqual([]);
    const first = await cliJson<Loaded>(load(bundles.base, '/site'), { env });
    expect(first.objectsPresent).toBe(0);
    await expectAll(bundles.base, '/site');
    const before = front.requests.length;
    const second = await cliJson<Loaded>(load(bundles.base, '/site'), { env });
    expect(second).toMatchObject({ objectsStored: 0, objectsPresent: first.objectsStored });
    expect(front.requests.slice(before).filter(stores)).toEqual([]);
  });

  test('an increment copies inside the store what lies there, and --verify full reads all of it', async () => {
    const before = front.requests.length;
    await cliJson<Loaded>(load(bundles.increment, '/site'), { env });
    const copies = front.requests.slice(before).filter(({ headers }) => headers['x-amz-copy-source']);
    expect(copies.filter(stores).map(({ path }) => path)).toEqual([
      expect.stringMatching(/kernel-amd64(?:\?|$)/),
    ]);
    await expectAll(bundles.increment, '/site');
    const full = await cliJson<Loaded>([...load(bundles.increment, '/site'), '--verify', 'full'], { env });
    expect(full.objectsStored).toBe(0);
  });

  test('F43 SIGKILL between parts: the same command sends only the rest, and no upload is left', async () => {
    const command = load(bundles.base, '/killed');
    const running = startCli(command, { env });
    const journal = (): string =>
      listing(site.at('state/killed/uploads'))
        .map((name) => readFileSync(site.at('state/killed/uploads', name), 'utf8'))
        .join('');
    front.fault = async (request) => {
      if (partOf(request) !== '2') return undefined;
      await running.until(() => journal().includes('"number":1'));
      running.kill('SIGKILL');
      return 'cut';
    };
    expect((await running.ended).code).toBe(137);
    front.fault = () => undefined;
    const iso = `talos/killed/${bundles.iso}`;
    expect((await request(iso, 'HEAD')).status).toBe(404);
    const before = front.requests.length;
    await cliJson<Loaded>(command, { env });
    await expectAll(bundles.base, '/killed');
    const parts = front.requests.slice(before).map(partOf).filter(Boolean);
    expect(parts).toContain('2');
    expect(parts.includes('1')).toBe(!listsParts);
    expect(await (await request('talos?uploads=')).text()).not.toContain('<UploadId>');
  });

  test('S1 a line that changes a byte: the load fails, and the same command over a good line stores it right', async () => {
    const command = load(bundles.base, '/flipped');
    let isFlipped = false;
    front.fault = (request) => {
      if (isFlipped || partOf(request) !== '2') return undefined;
      isFlipped = true;
      return 'flip';
    };
    const ended = await cli(command, { env });
    expect(isFlipped).toBe(true);
    // A store that compares the bytes refuses the part; else reading back finds them, and the object goes.
    if (comparesBytes) expectFailure(ended, 5, /metal-amd64\.iso/);
    else expectFailure(ended, 3, /metal-amd64\.iso: read back.*\[DIGEST_MISMATCH\]$/);
    expect((await request(`talos/flipped/${bundles.iso}`, 'HEAD')).status).toBe(404);
    await cliJson<Loaded>(command, { env });
    await expectAll(bundles.base, '/flipped');
  });

  test('S4 behind nginx with a limit below the size of a part: smaller parts', async () => {
    const certificates = await makeCertificates('127.0.0.1');
    const nginx = await startNginx({ behind: store.host, certificates, maxBody: '9m' });
    onTestFinished(async () => {
      await nginx.stop();
      certificates.dispose();
    });
    const command = load(bundles.base, '/nginx', `https://${nginx.host}`);
    const ended = await cli([...command, '--ca-cert', certificates.caFile], { env });
    expect(ended.code, ended.stderr).toBe(0);
    expect(ended.stderr).toMatch(/too large for the store or a proxy in front of it; load sends parts of 8/);
    expect(nginx.log()).toContain(' 413 ');
    await expectAll(bundles.base, '/nginx');
  });

  test('a bucket that does not exist, and a wrong secret, are named before anything is stored', async () => {
    const missing = load(bundles.base, '/wrong').map((word) =>
      word.replace('s3://talos/', 's3://not-there/'),
    );
    expectFailure(await cli(missing, { env }), 5, /not-there/);
    if (!authenticates) return;
    const wrong = { ...env, AWS_SECRET_ACCESS_KEY: 'not-the-secret' };
    const ended = await cli(load(bundles.base, '/wrong'), { env: wrong });
    expectFailure(ended, 5, /AWS_SECRET_ACCESS_KEY/);
    expect(await keysBelow('/wrong')).toEqual([]);
  });

  if (hasRetention)
    test('a bucket with a default retention takes a load; what it keeps is there the next time', async () => {
      const signed = (at: string, options: Parameters<typeof signedFetch>[2]): Promise<Response> =>
        signedFetch(new URL(`${store.url}/${at}`), store.key, options);
      const headers = { 'x-amz-bucket-object-lock-enabled': 'true' };
      expect((await signed('locked', { method: 'PUT', headers })).status).toBe(200);
      const rule = '<Rule><DefaultRetention><Mode>GOVERNANCE</Mode><Days>1</Days></DefaultRetention></Rule>';
      const body = `<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled>${rule}</ObjectLockConfiguration>`;
      const set = await signed('locked?object-lock=', { method: 'PUT', body });
      expect(set.status, await set.text()).toBe(200);
      const command = load(bundles.base, '/kept').map((word) => word.replace('s3://talos/', 's3://locked/'));
      expect((await cliJson<Loaded>(command, { env })).objectsPresent).toBe(0);
      const [file] = bundles.base.files;
      const kept = await signed(`locked/kept/${file?.key}?retention=`, {});
      expect(await kept.text()).toContain('<Mode>GOVERNANCE</Mode>');
      expect((await cliJson<Loaded>(command, { env })).objectsStored).toBe(0);
    });

  if (domain !== undefined)
    test('the bucket in the name of the host, and a copy in parts inside the store', async () => {
      const endpoint = new URL(`http://${domain}:${new URL(store.url).port}`);
      const settings = {
        ...{ ...store.key, bucket: 'talos', prefix: 'named', endpoint },
        addressing: 'virtual',
      } as const;
      const hosts = hostsOf({ kind: 's3', settings });
      const seen = new Set<string>();
      const gate = new HttpGate({
        policy: { hosts, plainHttp: hosts, allowPrivate: true, upstreams: [] },
        // What the DNS of a site does; not every system knows names below localhost.
        lookup: async () => [{ address: '127.0.0.1', family: 4 }],
        egressLog: { record: ({ host }) => seen.add(host) },
      });
      onTestFinished(() => gate.close());
      const sink = new S3Sink(gate, settings, site.at('state-named'), { maxCopySize: 5 * 1024 * 1024 });
      const bytes = Buffer.alloc(12 * 1024 * 1024, 'omni-airgap ');
      const contentType = 'application/octet-stream';
      const descriptor = descriptorOf(contentType, bytes);
      await writeFile(site.at('large'), bytes);
      const pieces = [{ path: site.at('large'), offset: 0, size: bytes.byteLength }];
      const object = { key: 'image/a/large', descriptor, contentType } as const;
      expect(await sink.put({ ...object, content: { kind: 'pieces', pieces } }, () => {})).toBe('stored');
      const copy = { ...object, key: 'image/b/large' } as const;
      const content = { kind: 'object', key: object.key } as const;
      expect(await sink.put({ ...copy, content }, () => {})).toBe('stored');
      const hasher = new Hasher();
      for await (const chunk of sink.get(copy.key)) hasher.update(chunk);
      expect(hasher.finish()).toBe(descriptor.digest);
      // An ETag of several parts says how many.
      const found = await request('talos/named/image/b/large', 'HEAD');
      expect(found.headers.get('etag')).toMatch(/-3"$/);
      expect([...seen]).toEqual([`talos.${endpoint.host}`]);
    });

  if (hasPolicies)
    test('S2 the policy of docs/loading.md is enough; each right that is taken away is named', async () => {
      const { createUser } = store;
      if (createUser === undefined) throw new Error('hasUsers says that it can make users');
      const key = await store.createUser?.('omni-airgap');
      if (key === undefined) throw new Error('this store makes no users');
      const user = { ...env, AWS_ACCESS_KEY_ID: key.accessKeyId, AWS_SECRET_ACCESS_KEY: key.secretAccessKey };
      const text = await readFile(join(import.meta.dirname, '..', '..', 'docs', 'loading.md'), 'utf8');
      const written = /```json\n([^`]+"s3:PutObject"[^`]+)```/.exec(text)?.[1] ?? '';
      const optional = [...text.matchAll(/^\| `(s3:[A-Za-z]+)`/gm)].map(([, right = '']) => right);
      expect(optional).toHaveLength(4);
      /** The written policy; with the useful rights; and one that is denied, whoever owns what it is asked for. */
      const policy = async (useful: readonly string[], denied?: string): Promise<void> => {
        const document = JSON.parse(written) as { Statement: Record<string, unknown>[] };
        const [objects, itself] = document.Statement;
        const resources = [objects?.['Resource'], itself?.['Resource']].flat();
        if (useful.length > 0) document.Statement.push({ ...objects, Action: useful, Resource: resources });
        if (denied !== undefined) {
          document.Statement.push({ ...objects, Effect: 'Deny', Action: [denied], Resource: resources });
        }
        const body = JSON.stringify(document);
        const answer = await signedFetch(new URL(`${store.url}/talos?policy=`), store.key, {
          method: 'PUT',
          body,
        });
        expect(answer.status, await answer.text()).toBeLessThan(300);
      };
      const target = targetOf('/policy');

      await policy([]);
      const smallest = await cli([...load(bundles.base, '/policy'), '--json'], { env: user });
      expect(smallest.code, smallest.stderr).toBe(0);
      // Ceph lets whoever began an upload list its parts without a right to.
      const noted = optional.filter((right) => right !== 's3:ListMultipartUploadParts');
      for (const right of noted) expect(smallest.stderr).toContain(`must allow ${right} here`);

      const required = ['s3:GetObject', 's3:PutObject', 's3:ListBucket'];
      for (const right of [undefined, ...required, ...optional]) {
        await policy(optional, right);
        const { stdout } = await cli(['egress', 'check', '--inside', ...target, '--json'], { env: user });
        const { findings } = JSON.parse(stdout) as {
          findings: readonly { readonly state: string; readonly detail: string }[];
        };
        const refused = findings.filter(({ state }) => state !== 'ok');
        const named = refused.filter(({ detail }) => detail.includes(`must allow ${right}`));
        const isRequired = right !== undefined && required.includes(right);
        expect(refused.length > 0, `${right}: ${stdout}`).toBe(right !== undefined);
        if (right !== undefined) expect(named.length, `${right}: ${stdout}`).toBeGreaterThan(0);
        expect(
          refused.some(({ state }) => state === 'failed'),
          `${right}: ${stdout}`,
        ).toBe(isRequired);
      }
    });
});
