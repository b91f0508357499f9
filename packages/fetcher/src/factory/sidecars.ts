/**
 * What the Image Factory offers beside a file: checksums, and a signature as a Sigstore bundle. Its Enterprise edition
 * has them and the others say 402, older releases that they know no such file; any other refusal is an error, so that
 * nothing is taken for absent that is not.
 * Sources: siderolabs/image-factory docs/api.md (Checksums, Signatures), enterprise/assetsignature/writer.go. Fault F22.
 */
import { createHash } from 'node:crypto';
import type { Fetcher } from '@omni-airgap/oci';
import {
  CodedError,
  type JsonObject,
  type JsonValue,
  messageOf,
  parseStrictObject,
} from '@omni-airgap/oci/base';
import { type Descriptor, hexOf } from '@omni-airgap/oci/model';
import { signatureSuffix } from '@omni-airgap/talos';
import type { FactoryClient } from './client.ts';

const bundleType = 'application/vnd.dev.sigstore.bundle.v0.3+json';
const maxChecksumBytes = 4096;
/** As the factory itself has it. */
const maxBundleBytes = 1024 * 1024;

/**
 * Compares a file with the checksum that is offered for it. SHA-512 is asked for only where there is no SHA-256: the
 * store names files by that one.
 * @param path below the factory's URL
 * @param source has the file
 * @throws DIGEST_MISMATCH; UPSTREAM, DENIED, NETWORK for anything but a checksum or that there is none
 */
export async function compareChecksum(
  factory: FactoryClient,
  path: string,
  descriptor: Descriptor,
  source: Fetcher,
): Promise<void> {
  const sha256 = await factory.sidecar(`${path}.sha256`, maxChecksumBytes);
  if (sha256 !== undefined) return compare(path, sha256, hexOf(descriptor.digest), descriptor);
  const sha512 = await factory.sidecar(`${path}.sha512`, maxChecksumBytes);
  if (sha512 === undefined) return;
  const hash = createHash('sha512');
  for await (const chunk of source.fetch(descriptor)) hash.update(chunk);
  compare(path, sha512, hash.digest('hex'), descriptor);
}

/** @param said a line `<hex>  <name>`, as sha256sum prints it */
function compare(path: string, said: Uint8Array, hex: string, descriptor: Descriptor): void {
  const expected = /^([a-f0-9]+)(?:\s|$)/.exec(Buffer.from(said).toString('latin1').trim())?.[1];
  if (expected?.length !== hex.length)
    throw new CodedError('UPSTREAM', `${path}: the factory's checksum is not a line "<hex>  <name>"`);
  if (expected === hex) return;
  throw new CodedError(
    'DIGEST_MISMATCH',
    `${path}: the bytes have ${hex}, the factory's checksum says ${expected}`,
    { descriptor },
  );
}

/**
 * The signature of a file. Whose it is, is for whoever uses the file to decide; that it is about these bytes is checked.
 * @returns the bundle, byte for byte; undefined when none is offered
 * @throws DIGEST_MISMATCH when it is about other bytes, BAD_SIGNATURE when it is no such bundle; as above
 */
export async function signatureBundle(
  factory: FactoryClient,
  path: string,
  { digest }: Descriptor,
): Promise<Uint8Array | undefined> {
  const what = `${path}${signatureSuffix}`;
  const bytes = await factory.sidecar(what, maxBundleBytes);
  if (bytes === undefined) return undefined;
  const signed = signedDigest(bytes, what);
  if (signed === hexOf(digest)) return bytes;
  throw new CodedError('DIGEST_MISMATCH', `${what}: it is about sha256:${signed}, the bytes have ${digest}`);
}

/** 64 hex characters. */
function signedDigest(bytes: Uint8Array, what: string): string {
  const bad = (why: string, cause?: unknown): CodedError =>
    new CodedError('BAD_SIGNATURE', `${what}: ${why}`, { cause });
  let bundle: JsonObject;
  try {
    bundle = parseStrictObject(bytes, { what });
  } catch (cause) {
    throw bad(messageOf(cause), cause);
  }
  if (bundle['mediaType'] !== bundleType) throw bad('it is no Sigstore bundle of version 0.3');
  const signed = member(member(bundle['messageSignature'])?.['messageDigest']);
  const text = signed?.['digest'];
  const digest = Buffer.from(typeof text === 'string' ? text : '', 'base64');
  if (signed?.['algorithm'] !== 'SHA2_256' || digest.byteLength !== 32) throw bad('it names no SHA-256');
  return digest.toString('hex');
}

function member(value: JsonValue | undefined): JsonObject | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? value : undefined;
}
