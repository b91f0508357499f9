/** P7: signatures by a key in the form of cosign 3, a bundle that refers to the image. */
import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Descriptor, digestOf, hexOf, MediaType } from '@omni-airgap/oci/model';
import { buildManifest } from '@omni-airgap/oci/testing';
import { expect, test } from 'vitest';
import { bundleType, signStatement } from './sigstore-authority.ts';
import { attach, publishImage, type Site, startSite } from './site.ts';

const path = 'dexidp/dex';
const dex = `ghcr.io/${path}:v1`;
const statementType = 'application/vnd.in-toto+json';
const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const other = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const elsewhere = `sha256:${'b'.repeat(64)}`;

interface Made {
  readonly key?: KeyObject;
  readonly hash?: 'sha256' | 'sha384' | 'sha512' | null;
  readonly statement?: string;
  readonly payloadType?: string;
  /** Changes the bundle after it was signed. */
  readonly change?: (bundle: Bundle) => object;
  /** What it refers to; default the image. */
  readonly subject?: Descriptor;
  readonly layerType?: string;
}

interface Bundle {
  readonly mediaType: string;
  readonly verificationMaterial: object;
  readonly dsseEnvelope: {
    readonly payload: string;
    readonly payloadType: string;
    readonly signatures: readonly { readonly sig: string }[];
  };
}

/** As `cosign sign --key` of version 3 writes it, without a log. */
function bundleFor(digest: string, made: Made): object {
  const { key = pair.privateKey, hash = 'sha256', payloadType = statementType } = made;
  const payload = Buffer.from(made.statement ?? signStatement(digest));
  const signed = Buffer.concat([
    Buffer.from(`DSSEv1 ${payloadType.length} ${payloadType} ${payload.byteLength} `),
    payload,
  ]);
  const bundle: Bundle = {
    mediaType: bundleType,
    verificationMaterial: {
      publicKey: { hint: Buffer.from(hexOf(digestOf(payload)), 'hex').toString('base64') },
    },
    dsseEnvelope: {
      payload: payload.toString('base64'),
      payloadType,
      signatures: [{ sig: sign(hash, signed, key).toString('base64') }],
    },
  };
  return made.change?.(bundle) ?? bundle;
}

async function site(made: readonly Made[], referrersApi = true): Promise<{ at: Site; root: Descriptor }> {
  const at = await startSite({ 'ghcr.io': { referrersApi } });
  const registry = at.registry('ghcr.io');
  const { root } = await publishImage(registry, path, 'v1');
  const repository = registry.repository(path);
  const referrers = made.map((one) => {
    const { subject = root, layerType = bundleType } = one;
    const layer = repository.addBlob(Buffer.from(JSON.stringify(bundleFor(root.digest, one))), layerType);
    const config = repository.addBlob(Buffer.from('{}'), MediaType.empty);
    const { bytes } = buildManifest(MediaType.ociManifest, {
      config,
      layers: [layer],
      artifactType: bundleType,
      subject,
    });
    return repository.addManifest(bytes, MediaType.ociManifest);
  });
  if (!referrersApi) {
    const { bytes } = buildManifest(MediaType.ociIndex, { manifests: referrers });
    repository.addManifest(bytes, MediaType.ociIndex, `sha256-${hexOf(root.digest)}`);
  }
  await at.mirror(`images: ['${dex}']`);
  return { at, root };
}

async function keyFile(at: Site, key: KeyObject = pair.publicKey): Promise<string> {
  const file = join(at.folder, 'cosign.pub');
  await writeFile(file, key.export({ type: 'spki', format: 'pem' }));
  return file;
}

test.each([
  ['from the referrers API', true],
  ['from the fallback tag', false],
])('verifies %s, and lock.json says by which key and which manifest', async (_what, referrersApi) => {
  const { at } = await site([{}], referrersApi);
  const report = await at.fetch({ verifyImagesKeys: [await keyFile(at)] });
  expect(report.verified).toBe(1);
  const { items } = await at.lock();
  const verified = items.find(({ name }) => name === dex)?.verified;
  const key = digestOf(pair.publicKey.export({ type: 'spki', format: 'der' }));
  const signature = items.find(({ kind }) => kind === 'signature')?.descriptor.digest;
  expect(verified).toEqual({ key, signature });
});

test.each([
  ['P-384 with SHA-384', () => generateKeyPairSync('ec', { namedCurve: 'P-384' }), 'sha384'],
  ['P-384 with SHA-256', () => generateKeyPairSync('ec', { namedCurve: 'P-384' }), 'sha256'],
  ['P-521 with SHA-512', () => generateKeyPairSync('ec', { namedCurve: 'P-521' }), 'sha512'],
  ['RSA', () => generateKeyPairSync('rsa', { modulusLength: 2048 }), 'sha256'],
  ['Ed25519', () => generateKeyPairSync('ed25519'), null],
] as const)('verifies a key of the type %s', async (_what, generate, hash) => {
  const { privateKey, publicKey } = generate();
  const { at } = await site([{ key: privateKey, hash }]);
  expect((await at.fetch({ verifyImagesKeys: [await keyFile(at, publicKey)] })).verified).toBe(1);
});

test.each<readonly [string, readonly Made[]]>([
  ['a signature by another key beside it', [{ key: other.privateKey }, {}]],
  ['provenance beside it', [{ statement: signStatement(elsewhere, 'https://slsa.dev/provenance/v1') }, {}]],
  [
    'a bundle of another version beside it',
    [{ layerType: 'application/vnd.dev.sigstore.bundle.v0.1+json' }, {}],
  ],
])('any one is enough: %s', async (_what, made) => {
  const { at } = await site(made);
  expect((await at.fetch({ verifyImagesKeys: [await keyFile(at)] })).verified).toBe(1);
});

const pageOfReferrers = {
  match: { path: /referrers/ },
  do: { status: 200, headers: { 'content-type': 'text/html' }, body: '<!doctype html>' },
};

test('a web page in place of the referrers: no signature is found, and the message says why (item 1)', async () => {
  const { at } = await site([{}]);
  at.registry('ghcr.io').fault(pageOfReferrers);
  await expect(at.fetch({ verifyImagesKeys: [await keyFile(at)] })).rejects.toMatchObject({
    code: 'UPSTREAM',
    message: expect.stringMatching(/some may be unlisted: .*ghcr\.io answers with a web page \(text\/html\)/),
  });
  const excepted = { verifyImagesKeys: [await keyFile(at)], verifyImagesExcept: ['ghcr.io/'] };
  expect((await at.fetch(excepted)).verified).toBe(0);
});

test('a web page in place of the referrers does not matter where the fallback tag lists the signature', async () => {
  const { at } = await site([{}], false);
  at.registry('ghcr.io').fault(pageOfReferrers);
  expect((await at.fetch({ verifyImagesKeys: [await keyFile(at)] })).verified).toBe(1);
});

test.each([
  ['the tag does not verify, the bundle does', [{}], 'nothing of use'],
  ['the bundle does not verify, nor does the tag', [{ key: other.privateKey }], 'nothing of use'],
] as const)('both forms are looked at: %s', async (what, made, payload) => {
  const { at, root } = await site(made);
  attach(at.registry('ghcr.io'), path, root, '.sig', payload, {
    'dev.cosignproject.cosign/signature': 'AAAA',
  });
  const fetching = at.fetch({ verifyImagesKeys: [await keyFile(at)] });
  if (what.startsWith('the tag')) expect((await fetching).verified).toBe(1);
  else await expect(fetching).rejects.toMatchObject({ code: 'BAD_SIGNATURE' });
});

const envelope = (bundle: Bundle, change: object): object => ({
  ...bundle,
  dsseEnvelope: { ...bundle.dsseEnvelope, ...change },
});
test.each<readonly [string, Made, RegExp]>([
  ['a signature by another key', { key: other.privateKey }, /by another key/],
  ['a statement about another image', { statement: signStatement(elsewhere) }, /about another image/],
  [
    'a statement that was changed after it was signed',
    {
      statement: signStatement(elsewhere),
      change: (b) =>
        envelope(b, {
          payload: Buffer.from(signStatement(elsewhere.replaceAll('b', 'c'))).toString('base64'),
        }),
    },
    /by another key, or its claim was changed/,
  ],
  ['no statement', { payloadType: 'text/plain' }, /no in-toto statement/],
  [
    'provenance alone',
    { statement: signStatement(elsewhere, 'https://slsa.dev/provenance/v1') },
    /has no signature/,
  ],
  [
    'a statement without a subject',
    {
      statement:
        '{"_type":"https://in-toto.io/Statement/v1","predicateType":"https://sigstore.dev/cosign/sign/v1"}',
    },
    /about another image/,
  ],
  [
    'a statement twice (T21)',
    { statement: signStatement(elsewhere).replace('{', '{"predicateType":"x",') },
    /stands twice/,
  ],
  [
    'a signature with junk in its base64',
    { change: (b) => envelope(b, { signatures: [{ sig: `!${b.dsseEnvelope.signatures[0]?.sig}` }] }) },
    /not base64/,
  ],
  [
    'two signatures',
    {
      change: (b) =>
        envelope(b, { signatures: [...b.dsseEnvelope.signatures, ...b.dsseEnvelope.signatures] }),
    },
    /exactly one signature/,
  ],
  ['no signature', { change: (b) => envelope(b, { signatures: [] }) }, /exactly one signature/],
  [
    'a certificate instead of a key',
    { change: (b) => ({ ...b, verificationMaterial: { certificate: { rawBytes: 'AAAA' } } }) },
    /by an identity, not by a key/,
  ],
  [
    'a message signature beside the envelope',
    { change: (b) => ({ ...b, messageSignature: {} }) },
    /signs no statement/,
  ],
  [
    'another type in the bundle',
    { change: (b) => ({ ...b, mediaType: 'application/json' }) },
    /it is no application/,
  ],
  ['an empty bundle', { change: () => ({}) }, /it is no application/],
])('does not verify: %s', async (_what, made, message) => {
  const { at } = await site([made]);
  await expect(at.fetch({ verifyImagesKeys: [await keyFile(at)] })).rejects.toMatchObject({
    code: 'BAD_SIGNATURE',
    message: expect.stringMatching(message),
  });
  expect((await at.lock()).items.some(({ name }) => name === dex)).toBe(false);
});

test('does not verify: a bundle that refers to another manifest', async () => {
  const { at, root } = await site([]);
  const child = { ...root, digest: digestOf(Buffer.from('another')) };
  const other = await site([{ subject: child }]);
  await expect(other.at.fetch({ verifyImagesKeys: [await keyFile(other.at)] })).rejects.toMatchObject({
    code: 'BAD_SIGNATURE',
    message: expect.stringContaining('has no signature'),
  });
  await expect(at.fetch({ verifyImagesKeys: [await keyFile(at)] })).rejects.toMatchObject({
    code: 'BAD_SIGNATURE',
  });
});
