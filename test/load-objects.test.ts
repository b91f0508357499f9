/** load into a real object store: Ceph's gateway. */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type CephGateway, cephCommands, startCeph } from './services/ceph.ts';
import { describeWith } from './services/service-test.ts';
import { cli, cliJson, startCli } from './support/cli.ts';
import { type MadeBundle, makeBundle } from './support/made-bundle.ts';
import { type Workspace, workspace } from './support/workspace.ts';

const mebibyte = 1024 * 1024;
const iso = `image/${'3'.repeat(64)}/v1.13.9/metal-amd64.iso`;

interface Loaded {
  readonly objectsStored: number;
  readonly objectsPresent: number;
  readonly receipt: { readonly objects: readonly { readonly key: string; readonly digest: string }[] };
}

describeWith(cephCommands, 'an object store', () => {
  let gateway: CephGateway;
  let bundle: MadeBundle;
  let site: Workspace;
  let env: Readonly<Record<string, string>>;
  let buckets = 0;
  const load = async (): Promise<{ readonly bucket: string; readonly args: readonly string[] }> => {
    const bucket = `talos-${++buckets}`;
    await gateway.createBucket(bucket);
    const target = ['--object-store', `s3://${bucket}/site`, '--s3-endpoint', gateway.url];
    return { bucket, args: ['load', ...bundle.flags, ...target, '--state', site.at(`state-${buckets}`)] };
  };
  const partsOf = async (bucket: string): Promise<number> => {
    const uploads = await (await gateway.request(`${bucket}?uploads=`)).text();
    const id = /<UploadId>([^<]+)<\/UploadId>/.exec(uploads)?.[1];
    if (id === undefined) return 0;
    const parts = await (
      await gateway.request(`${bucket}/site/${iso}?uploadId=${encodeURIComponent(id)}`)
    ).text();
    return (parts.match(/<PartNumber>/g) ?? []).length;
  };

  beforeAll(async () => {
    gateway = await startCeph();
    bundle = await makeBundle(
      {},
      {
        'metal-amd64.iso': 260 * mebibyte,
        'kernel-amd64': mebibyte,
        'cmdline-metal-amd64': 100,
        'initramfs-amd64.xz': 5000,
      },
    );
    site = await workspace();
    env = {
      AWS_ACCESS_KEY_ID: gateway.accessKeyId,
      AWS_SECRET_ACCESS_KEY: gateway.secretAccessKey,
      AWS_REGION: gateway.region,
    };
  });
  afterAll(() => gateway?.stop());

  test('F43 SIGKILL between parts: the upload goes on, what arrives is whole, a third load does nothing', async () => {
    const { bucket, args } = await load();
    const running = startCli([...args, '--concurrency', '1'], { env });
    let parts = await partsOf(bucket);
    while (parts < 2) parts = await partsOf(bucket);
    running.kill('SIGKILL');
    await running.ended;
    expect((await gateway.request(`${bucket}/site/${iso}`, { method: 'HEAD' })).status).toBe(404);
    const before = await partsOf(bucket);
    expect(before).toBeGreaterThanOrEqual(parts);
    const loaded = await cliJson<Loaded>(args, { env });
    expect(loaded.objectsStored).toBeGreaterThan(0);
    const answer = await gateway.request(`${bucket}/site/${iso}`);
    const hash = createHash('sha256');
    for await (const chunk of answer.body ?? []) hash.update(chunk);
    expect(`sha256:${hash.digest('hex')}`).toBe(
      loaded.receipt.objects.find(({ key }) => key === iso)?.digest,
    );
    // No upload is left behind: the one that was killed was finished.
    expect(await (await gateway.request(`${bucket}?uploads=`)).text()).not.toContain('<UploadId>');
    expect(await cliJson<Loaded>(args, { env })).toMatchObject({ objectsStored: 0, objectsPresent: 4 });
  });

  test('a dry run stores nothing; wrong credentials and a bucket that is not there are explained', async () => {
    const { bucket, args } = await load();
    const plan = await cliJson<{ readonly bytes: number }>([...args, '--dry-run'], { env });
    expect(plan.bytes).toBeGreaterThan(260 * mebibyte);
    expect(await (await gateway.request(`${bucket}?list-type=2`)).text()).not.toContain('<Key>');
    const wrong = await cli(args, { env: { ...env, AWS_SECRET_ACCESS_KEY: 'not-the-secret' } });
    expect(wrong.code).toBe(5);
    const missing = await cli([...args, '--object-store', 's3://not-there'], { env });
    expect(missing.code).toBe(5);
    expect(missing.stderr).toMatch(/make the bucket first|not-there/);
  });

  test('egress check --inside tries what load needs of it, and leaves nothing', async () => {
    const { bucket } = await load();
    const check = [
      'egress',
      'check',
      '--inside',
      '--object-store',
      `s3://${bucket}`,
      '--s3-endpoint',
      gateway.url,
    ];
    const { ok, findings } = await cliJson<{
      readonly ok: boolean;
      readonly findings: readonly { readonly what: string; readonly state: string }[];
    }>(check, { env });
    expect(ok).toBe(true);
    expect(findings.filter(({ state }) => state !== 'ok')).toEqual([]);
    expect(findings.length).toBeGreaterThan(10);
    expect(await (await gateway.request(`${bucket}?list-type=2`)).text()).not.toContain('<Key>');
  });

  test('the policy of docs/loading.md is enough; each right that is taken away is named', async () => {
    await gateway.createBucket('talos');
    const key = await gateway.createUser('omni-airgap');
    const user = { ...env, AWS_ACCESS_KEY_ID: key.accessKeyId, AWS_SECRET_ACCESS_KEY: key.secretAccessKey };
    const text = await readFile(join(import.meta.dirname, '..', 'docs', 'loading.md'), 'utf8');
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
      const answer = await gateway.request('talos?policy=', { method: 'PUT', body });
      expect(answer.status, await answer.text()).toBeLessThan(300);
    };
    const target = ['--object-store', 's3://talos', '--s3-endpoint', gateway.url];
    const load = ['load', ...bundle.flags, ...target, '--state', site.at('state-policy')];

    await policy([]);
    const smallest = await cli([...load, '--json'], { env: user });
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
