/** What clients make and ask for is shared by all replicas, and secrets of it are encrypted. */
import { createHash, randomBytes } from 'node:crypto';
import { schematicId } from '@omni-airgap/talos';
import { describe, expect, test } from 'vitest';
import { other, plain, post, v } from './carried.ts';
import { asked, replicaSite } from './replica-support.ts';

/** As Omni makes them: a join token is a secret. */
const secret = `customization:
    extraKernelArgs:
        - siderolink.api=grpc://omni:8090?jointoken=w7uVuW3zbVKIYQuzEcyetAHeYMeo5q2L9RvkAVfCfSCD
`;
const stateKey = randomBytes(32);

describe.each([true, false])('with a bucket: %s', (hasBucket) => {
  test('a schematic that one replica made is known to the others at once, and to an Image Factory', async () => {
    const site = await replicaSite({ hasBucket, prefix: 'team' });
    const [one, two] = [await site.replica(), await site.replica()];
    const id = schematicId(other);
    expect((await fetch(`${two.url}/schematics/${id}`)).status).toBe(404);
    const answer = await post(one.url, other);
    expect([answer.status, await answer.json()]).toEqual([201, { id, schematic: other }]);
    expect(await (await fetch(`${two.url}/schematics/${id}`)).text()).toBe(other);
    // The factory asks for the blob.
    const repository = site.registry.repository('team/siderolabs/image-factory/schematics');
    expect(Buffer.from(repository.blobs.get(`sha256:${id}`) ?? []).toString()).toBe(other);
    expect(JSON.parse(Buffer.from(repository.manifest(id)?.bytes ?? []).toString())).toMatchObject({
      mediaType: 'application/vnd.docker.distribution.manifest.v2+json',
      layers: [{ mediaType: 'application/vnd.sidero.dev-image.schematic', digest: `sha256:${id}` }],
    });
    if (hasBucket)
      expect(site.bucket.objects.get(`talos/site/schematics/${id}`)?.bytes.toString()).toBe(other);
    // A replica that was not there at the time.
    const three = await site.replica();
    expect((await post(three.url, other)).status).toBe(201);
    expect(await (await fetch(`${three.url}/schematics/${id}`)).text()).toBe(other);
  });

  test('one with a secret is encrypted, and read by every replica with the key', async () => {
    const site = await replicaSite({ hasBucket });
    const [one, two] = [await site.replica({ stateKey }), await site.replica({ stateKey })];
    const id = schematicId(secret);
    expect((await post(one.url, secret)).status).toBe(201);
    expect(await (await fetch(`${two.url}/schematics/${id}`)).text()).toBe(secret);
    const stored = [
      ...[...site.bucket.objects.values()].map(({ bytes }) => bytes.toString('latin1')),
      ...['omni-airgap/schematics', 'omni-airgap/wishes', 'siderolabs/image-factory/schematics'].flatMap(
        (path) => {
          const { blobs, manifests } = site.registry.repository(path);
          return [...blobs.values(), ...[...manifests.values()].map(({ bytes }) => bytes)].map((bytes) =>
            Buffer.from(bytes).toString('latin1'),
          );
        },
      ),
    ].join('\n');
    expect(stored).toContain('OAS1');
    expect(stored).not.toContain('jointoken');
    // Builds of it can be asked for.
    expect(await (await fetch(`${two.url}/image/${id}/${v}/kernel-amd64`)).text()).toBe('kernel bytes');
    expect(JSON.stringify(await two.wishes())).not.toContain('jointoken');
  });

  test('without the key it is refused with what to do; with another one too', async () => {
    const site = await replicaSite({ hasBucket });
    const id = schematicId(secret);
    const without = await site.replica();
    const refused = await post(without.url, secret);
    expect([refused.status, await refused.text()]).toEqual([
      403,
      'the schematic holds a secret (customization.extraKernelArgs[0]: a join token), which this server keeps only encrypted: start serve with --state-key FILE\n',
    ]);
    expect((await fetch(`${without.url}/schematics/${id}`)).status).toBe(404);
    expect((await post((await site.replica({ stateKey })).url, secret)).status).toBe(201);
    const known = await fetch(`${without.url}/schematics/${id}`);
    expect([known.status, await known.text()]).toEqual([
      403,
      `schematic ${id} holds a secret: this server needs --state-key FILE to read it\n`,
    ]);
    const another = await site.replica({ stateKey: randomBytes(32) });
    const wrong = await fetch(`${another.url}/schematics/${id}`);
    expect([wrong.status, await wrong.text()]).toEqual([
      403,
      `schematic ${id} was encrypted with another --state-key than this server has\n`,
    ]);
    // A site that changed its key makes it anew.
    expect((await post(another.url, secret)).status).toBe(201);
    expect(await (await fetch(`${another.url}/schematics/${id}`)).text()).toBe(secret);
  });

  test('a wish that was answered is recorded, for all replicas, once', async () => {
    const site = await replicaSite({ hasBucket });
    const [one, two] = [await site.replica(), await site.replica()];
    const missing = `/image/${site.id}/${v}/aws-amd64.raw.xz`;
    const answers = await Promise.all(Array.from({ length: 20 }, () => fetch(`${one.url}${missing}`)));
    expect(await answers[0]?.text()).toContain('the wish was recorded');
    expect((await two.wishes()).wishes).toMatchObject([
      { kind: 'media', schematic: site.id, version: v, file: 'aws-amd64.raw.xz', count: 1 },
    ]);
    await fetch(`${two.url}${missing}`);
    await fetch(`${two.url}/v2/quay.io/acme/app/manifests/v1`);
    const wishes = hasBucket
      ? asked({ requests: site.bucket.requests }, 'PUT', /wishes/)
      : asked(site.registry, 'PUT', /wishes\/manifests\/[0-9a-f]{64}$/);
    expect(wishes).toBe(2);
    const list = (await (await fetch(`${two.url}/wants.json`)).json()) as { wishes: object[] };
    expect(list.wishes).toHaveLength(2);
  });
});

test('what is sealed for one schematic opens for no other, and what was changed opens for none', async () => {
  const site = await replicaSite();
  const { url } = await site.replica({ stateKey });
  const id = schematicId(secret);
  await post(url, secret);
  const key = `talos/site/omni-airgap/schematics/${id}`;
  const sealed = site.bucket.objects.get(key);
  if (sealed === undefined) throw new Error('not stored');
  const forged = createHash('sha256').update('forged').digest('hex');
  site.bucket.objects.set(`talos/site/omni-airgap/schematics/${forged}`, sealed);
  expect((await fetch(`${url}/schematics/${forged}`)).status).toBe(500);
  const changed = Buffer.from(sealed.bytes);
  changed[30] = ~(changed[30] ?? 0);
  site.bucket.objects.set(key, { ...sealed, bytes: changed });
  expect((await fetch(`${url}/schematics/${id}`)).status).toBe(500);
});

test('two schematics are never sealed with the same nonce', async () => {
  const site = await replicaSite();
  const { url } = await site.replica({ stateKey });
  for (let i = 0; i < 5; i++) await post(url, secret.replace('omni', `omni${i}`));
  const heads = [...site.bucket.objects]
    .filter(([key]) => key.includes('omni-airgap/schematics/'))
    .map(([, { bytes }]) => bytes.subarray(12, 24).toString('hex'));
  expect(new Set(heads).size).toBe(5);
});

test('a bucket that is down: no ID is given, and a wish says that it was not recorded', async () => {
  const site = await replicaSite();
  const { url } = await site.replica();
  site.bucket.fault = ({ method }) => (method === 'PUT' ? { status: 500, body: '' } : undefined);
  expect((await post(url, other)).status).toBe(502);
  expect((await fetch(`${url}/schematics/${schematicId(other)}`)).status).toBe(404);
  const missing = await fetch(`${url}/image/${site.id}/${v}/aws-amd64.raw.xz`);
  expect([missing.status, await missing.text()]).toEqual([
    404,
    expect.stringContaining('the wish could not be recorded'),
  ]);
  site.bucket.fault = () => undefined;
  expect((await post(url, other)).status).toBe(201);
});

test('a registry that takes no schematics: the bucket keeps them, and the operator is told once', async () => {
  const site = await replicaSite({
    registry: { refuses: () => ({ status: 403, code: 'DENIED' }) },
  });
  const [one, two] = [await site.replica(), await site.replica()];
  expect((await post(one.url, other)).status).toBe(201);
  expect((await post(one.url, `${plain}# \n`)).status).toBe(201);
  expect((await post(one.url, other.replace('omni:', 'omni2:'))).status).toBe(201);
  expect(await (await fetch(`${two.url}/schematics/${schematicId(other)}`)).text()).toBe(other);
  expect(site.problems.filter((text) => text.includes('where an Image Factory looks'))).toHaveLength(1);
});
