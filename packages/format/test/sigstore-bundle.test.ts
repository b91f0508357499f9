/** bundle.json.sigstore.json: what it holds, and that it cannot differ from bundle.json.sig. */
import { createHash, generateKeyPairSync } from 'node:crypto';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { temporaryFolder } from '@omni-airgap/oci/testing';
import { expect, test } from 'vitest';
import { signBytes } from '../src/signature.ts';
import { checkSigstoreBundle, sigstoreBundleOf, writeSignature } from '../src/sigstore-bundle.ts';

const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const bytes = Buffer.from('{"kind":"omni-airgap/bundle"}\n');
const signature = signBytes(bytes, privateKey);
const check = (text: string, of: string = signature, data: Uint8Array = bytes): void =>
  checkSigstoreBundle(Buffer.from(text), data, of, 'bundle.json.sigstore.json');
const base64 = (data: Uint8Array): string => createHash('sha256').update(data).digest('base64');

test('holds the signature, the digest that it is of and the hint of the key', () => {
  const text = sigstoreBundleOf(bytes, signature, privateKey);
  expect(text).toBe(sigstoreBundleOf(bytes, signature, publicKey));
  expect(JSON.parse(text)).toEqual({
    mediaType: 'application/vnd.dev.sigstore.bundle.v0.3+json',
    verificationMaterial: { publicKey: { hint: base64(publicKey.export({ type: 'spki', format: 'der' })) } },
    messageSignature: {
      messageDigest: { algorithm: 'SHA2_256', digest: base64(bytes) },
      signature: signature.trim(),
    },
  });
  check(text);
});

test('one as cosign writes it, with more members, is right too', () => {
  const document = JSON.parse(sigstoreBundleOf(bytes, signature, privateKey)) as Record<string, object>;
  const material = { ...document['verificationMaterial'], tlogEntries: [], timestampVerificationData: {} };
  check(JSON.stringify({ ...document, verificationMaterial: material }, undefined, 2));
});

test.each<[string, () => void]>([
  [
    'another signature of the same key',
    () => check(sigstoreBundleOf(bytes, signBytes(bytes, privateKey), privateKey)),
  ],
  ['other bytes', () => check(sigstoreBundleOf(bytes, signature, privateKey), signature, Buffer.from('{}'))],
  ['no JSON', () => check('signature')],
  ['no signature', () => check('{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json"}')],
  ['another version', () => check(sigstoreBundleOf(bytes, signature, privateKey).replace('v0.3', 'v9'))],
  [
    'another algorithm',
    () => check(sigstoreBundleOf(bytes, signature, privateKey).replace('SHA2_256', 'SHA2_512')),
  ],
])('is refused with %s', (_what, differs) => {
  expect(differs).toThrow(expect.objectContaining({ code: 'BAD_SIGNATURE' }));
  expect(differs).toThrow(/^bundle\.json\.sigstore\.json: does not hold the signature of bundle\.json\.sig;/);
});

test('both files are written, over those of another key', async () => {
  const folder = await temporaryFolder();
  const names = ['bundle.json.sig', 'bundle.json.sigstore.json'];
  for (const name of names) writeFileSync(join(folder, name), 'of another key');
  const written = await writeSignature(folder, bytes, signature, publicKey);
  expect(written.map(({ name }) => name)).toEqual(names);
  expect(readdirSync(folder).sort()).toEqual(names);
  for (const { name, bytes: content } of written) expect(readFileSync(join(folder, name))).toEqual(content);
});
