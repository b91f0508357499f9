/** Signatures of cosign 2 by a key: what verifies, and everything that must not. */
import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Descriptor, type Digest, digestOf, MediaType } from '@omni-airgap/oci/model';
import { buildManifest } from '@omni-airgap/oci/testing';
import { beforeAll, describe, expect, test } from 'vitest';
import { publishImage, type Site, startSite } from './site.ts';

const dex = 'ghcr.io/dexidp/dex:v1';
const annotation = 'dev.cosignproject.cosign/signature';
const layerType = 'application/vnd.dev.cosign.simplesigning.v1+json';

interface Pair {
  readonly publicKey: KeyObject;
  readonly privateKey: KeyObject;
}
let pair: Pair;
let other: Pair;
beforeAll(() => {
  pair = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  other = generateKeyPairSync('ec', { namedCurve: 'P-256' });
});

/** As Go writes it: compact, in this order. */
const claim = (
  digest: string,
  type = 'cosign container image signature',
  key = 'docker-manifest-digest',
): string =>
  `{"critical":{"identity":{"docker-reference":"ghcr.io/dexidp/dex"},"image":{"${key}":"${digest}"},"type":"${type}"},"optional":null}`;

interface Layer {
  readonly payload: string;
  readonly signature: string;
  readonly mediaType?: string;
}

const signed = (payload: string, key: KeyObject = pair.privateKey): Layer => ({
  payload,
  signature: sign(key.asymmetricKeyType === 'ed25519' ? null : 'sha256', Buffer.from(payload), key).toString(
    'base64',
  ),
});

/** A site with an image, and at its tag the layers that are made for it. */
async function site(layers: (digest: Digest) => readonly Layer[]): Promise<{ site: Site; root: Descriptor }> {
  const started = await startSite();
  const registry = started.registry('ghcr.io');
  const { root } = await publishImage(registry, 'dexidp/dex', 'v1');
  const repository = registry.repository('dexidp/dex');
  const descriptors = layers(root.digest).map(({ payload, signature, mediaType = layerType }) => ({
    ...repository.addBlob(Buffer.from(payload), mediaType),
    annotations: { [annotation]: signature },
  }));
  const config = repository.addBlob(Buffer.from('{}'), MediaType.ociConfig);
  const { bytes } = buildManifest(MediaType.ociManifest, { config, layers: descriptors });
  repository.addManifest(bytes, MediaType.ociManifest, `${root.digest.replace(':', '-')}.sig`);
  await started.mirror(`images: ['${dex}']`);
  return { site: started, root };
}

async function keyFile(at: Site, key: KeyObject = pair.publicKey, name = 'cosign.pub'): Promise<string> {
  const path = join(at.folder, name);
  await writeFile(path, key.export({ type: 'spki', format: 'pem' }));
  return path;
}

async function fetchWith(layers: (digest: Digest) => readonly Layer[], key?: KeyObject) {
  const made = await site(layers);
  const path = await keyFile(made.site, key);
  return { ...made, report: await made.site.fetch({ verifyImagesKeys: [path] }) };
}

describe('verifies', () => {
  test('and lock.json says by which key; a later fetch without the key keeps that', async () => {
    const { site: at, report } = await fetchWith((digest) => [signed(claim(digest))]);
    expect(report.verified).toBe(1);
    const item = async () => (await at.lock()).items.find((one) => one.name === dex);
    const key = digestOf(pair.publicKey.export({ type: 'spki', format: 'der' }));
    expect((await item())?.verified).toMatchObject({ key });
    await at.fetch();
    expect((await item())?.verified).toMatchObject({ key });
  });

  test.each(['ec', 'rsa', 'ed25519'] as const)('with a key of the type %s', async (type) => {
    const made: Pair =
      type === 'ec'
        ? generateKeyPairSync('ec', { namedCurve: 'P-384' })
        : type === 'rsa'
          ? generateKeyPairSync('rsa', { modulusLength: 2048 })
          : generateKeyPairSync('ed25519');
    const { report } = await fetchWith((digest) => [signed(claim(digest), made.privateKey)], made.publicKey);
    expect(report.verified).toBe(1);
  });

  test('with a key whose file begins with a byte order mark (C10)', async () => {
    const made = await site((digest) => [signed(claim(digest))]);
    const path = join(made.site.folder, 'marked.pub');
    await writeFile(path, `\ufeff${pair.publicKey.export({ type: 'spki', format: 'pem' })}`);
    expect((await made.site.fetch({ verifyImagesKeys: [path] })).verified).toBe(1);
  });

  test('when one of two signatures is bad: any valid one is enough', async () => {
    const { report } = await fetchWith((digest) => [
      signed(claim(digest), other.privateKey),
      signed(claim(digest)),
    ]);
    expect(report.verified).toBe(1);
  });

  test.each([
    'ghcr.io/dexidp/dex',
    'ghcr.io/dexidp/dex:v1',
    // Signed where it was built, carried to where it is fetched from.
    'build.example:5000/dexidp/dex',
    'localhost/dex',
    'dexidp/dex',
    '',
  ])(
    'a claim for "%s": host and prefix are those of a mirror, and one without a name is about any',
    async (name) => {
      const { report } = await fetchWith((digest) => [
        signed(claim(digest).replace('ghcr.io/dexidp/dex', name)),
      ]);
      expect(report.verified).toBe(1);
    },
  );

  test('only what a key is meant for', async () => {
    const { site: at } = await site((digest) => [signed(claim(digest))]);
    await publishImage(at.registry('ghcr.io'), 'unsigned/tool', 'v1', { seed: 5 });
    await at.mirror(`images: ['${dex}', 'ghcr.io/unsigned/tool:v1']`);
    const path = await keyFile(at);
    expect(await at.fetch({ verifyImagesKeys: [`ghcr.io/dexidp/=${path}`] })).toMatchObject({ verified: 1 });
    await expect(at.fetch({ verifyImagesKeys: [path] })).rejects.toMatchObject({
      code: 'BAD_SIGNATURE',
      message: expect.stringContaining('ghcr.io/unsigned/tool:v1: has no signature'),
    });
  });
});

describe('does not verify (exit 3), and the image gets no name', () => {
  const elsewhere = `sha256:${'b'.repeat(64)}`;
  const cases: readonly (readonly [string, (digest: Digest) => readonly Layer[]])[] = [
    ['a signature by another key', (digest) => [signed(claim(digest), other.privateKey)]],
    ["another image's signature at this tag (F17)", () => [signed(claim(elsewhere))]],
    [
      'a claim for another repository, by the same key',
      (digest) => [signed(claim(digest).replace('dexidp/dex', 'dexidp/dex-debug'))],
    ],
    [
      'a claim for a repository whose name only ends alike',
      (digest) => [signed(claim(digest).replace('dexidp/dex', 'ex'))],
    ],
    [
      'a claim whose repository is no text',
      (digest) => [signed(claim(digest).replace('"ghcr.io/dexidp/dex"', '{}'))],
    ],
    [
      'a claim without an identity',
      (digest) => [
        signed(claim(digest).replace('"identity":{"docker-reference":"ghcr.io/dexidp/dex"},', '')),
      ],
    ],
    [
      'a claim that was changed after it was signed',
      (digest) => [{ ...signed(claim(elsewhere)), payload: claim(digest) }],
    ],
    ['a claim of another type', (digest) => [signed(claim(digest, 'atomic container signature'))]],
    [
      'a claim whose digest has a capital letter',
      (digest) => [signed(claim(digest, undefined, 'Docker-manifest-digest'))],
    ],
    [
      'a claim with its digest twice (T21)',
      (digest) => [
        signed(claim(digest).replace('"image":{', `"image":{"docker-manifest-digest":"${elsewhere}",`)),
      ],
    ],
    ['a claim that is cut', (digest) => [signed(claim(digest).slice(0, -1))]],
    [
      'a claim of a hundred kilobytes',
      (digest) => [signed(claim(digest).replace('null', `"${'x'.repeat(100_000)}"`))],
    ],
    [
      'a signature with junk in its base64',
      (digest) => {
        const good = signed(claim(digest));
        return [{ ...good, signature: `${good.signature.slice(0, 4)}!!${good.signature.slice(4)}` }];
      },
    ],
    ['an empty signature', (digest) => [{ payload: claim(digest), signature: '' }]],
    ['a layer of another type', (digest) => [{ ...signed(claim(digest)), mediaType: 'application/json' }]],
    ['no layers', () => []],
    ['a thousand and one signatures', (digest) => Array.from({ length: 1001 }, () => signed(claim(digest)))],
  ];
  test.each(cases)('%s', async (_what, layers) => {
    const made = await site(layers);
    const path = await keyFile(made.site);
    await expect(made.site.fetch({ verifyImagesKeys: [path] })).rejects.toMatchObject({
      code: 'BAD_SIGNATURE',
    });
    const lock = await made.site.lock();
    expect(lock.missing).toEqual([dex]);
    expect(lock.items.some((item) => item.name === dex)).toBe(false);
  });

  test('an Ed25519 key and a signature by an EC key', async () => {
    const { publicKey } = generateKeyPairSync('ed25519');
    await expect(fetchWith((digest) => [signed(claim(digest))], publicKey)).rejects.toMatchObject({
      code: 'BAD_SIGNATURE',
    });
  });

  test('no signature at all, where one is wanted (F16); without a key it is simply not there', async () => {
    const at = await startSite();
    await publishImage(at.registry('ghcr.io'), 'dexidp/dex', 'v1');
    await at.mirror(`images: ['${dex}']`);
    await expect(at.fetch({ verifyImagesKeys: [await keyFile(at)] })).rejects.toMatchObject({
      code: 'BAD_SIGNATURE',
    });
    await at.fetch();
    expect((await at.lock()).items[0]?.verified).toBeUndefined();
  });
});

describe('a key file is refused before any request', () => {
  test.each([
    ['that is not there', undefined, 'NO_INPUT'],
    ['with a private key', () => pair.privateKey.export({ type: 'pkcs8', format: 'pem' }), 'CONFIG'],
    [
      'with two keys',
      () =>
        `${pair.publicKey.export({ type: 'spki', format: 'pem' })}${other.publicKey.export({ type: 'spki', format: 'pem' })}`,
      'CONFIG',
    ],
    ['that is no key', () => '-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n', 'CONFIG'],
  ])('%s', async (_what, text, code) => {
    const at = await startSite();
    await at.mirror(`images: ['${dex}']`);
    const path = join(at.folder, 'key');
    if (text !== undefined) await writeFile(path, text());
    await expect(at.fetch({ verifyImagesKeys: [path] })).rejects.toMatchObject({ code });
    expect(at.asked('ghcr.io')).toEqual([]);
  });
});
