/**
 * Signs, with a key of the site, every image that an Image Factory checks before it uses it: their own signatures
 * can only be verified with the internet at hand. Signatures are added to those that are there; what is signed with
 * the key already is left alone, so that a second run changes nothing.
 * Source: siderolabs/image-factory internal/image/verify: it checks the digest that the tag names, the index.
 */

import type { KeyObject } from 'node:crypto';
import { areSignatures, claimOf, isSignedClaim, signatureManifest, signClaim } from '@omni-airgap/format';
import { CodedError, isCoded, settleAll } from '@omni-airgap/oci/base';
import {
  companionTag,
  type Descriptor,
  type Digest,
  fetchManifest,
  isManifestType,
  openerOf,
  parseReference,
} from '@omni-airgap/oci/model';
import pLimit from 'p-limit';
import type { RegistryContext } from './targets/registry/context.ts';
import { isCompanion } from './targets/registry/push-order.ts';
import type { TargetState } from './targets/registry/target-state.ts';

/** Images signed at once. */
const signingAtOnce = 8;
/** Times that somebody else may write the tag in between. */
const maxRounds = 5;

export interface Resigned {
  readonly signed: number;
  /** Images that had a signature of the key. */
  readonly present: number;
  /** How many of both nobody had verified outside: the key says of them what the bundle does, not who made them. */
  readonly unverified: number;
}

/** A tag of signatures, and what it stands for now. */
export interface SignatureTag {
  /** `host/repository:tag` */
  readonly target: string;
  readonly digest: Digest;
}

/**
 * @param verified names whose signature was verified when they were fetched
 * @throws CONFLICT for a tag that holds no signatures; DENIED, UPSTREAM, NETWORK
 */
export async function resign(
  context: RegistryContext,
  names: readonly TargetState[],
  key: KeyObject,
  verified: ReadonlySet<string>,
): Promise<{ readonly resigned: Resigned; readonly tags: readonly SignatureTag[] }> {
  const limit = pLimit(signingAtOnce);
  const checked = names.filter(isChecked);
  const idOf = ({ repository, descriptor }: TargetState): string => `${repository}@${descriptor.digest}`;
  const images = new Map(checked.map((name) => [idOf(name), name] as const));
  const vouched = new Set(checked.filter(({ name }) => verified.has(name)).map(idOf));
  const results = await settleAll(
    [...images.values()].map((name) => limit(() => signOne(context, name, key))),
  );
  const signed = results.filter(({ isNew }) => isNew).length;
  const resigned = { signed, present: results.length - signed, unverified: images.size - vouched.size };
  return { resigned, tags: results.map(({ target, digest }) => ({ target, digest })) };
}

/** Sidero's own images: sources of builds, catalogs, extensions and overlays. Not what speaks about them. */
function isChecked(name: TargetState): boolean {
  const { registry, repository } = parseReference(name.name);
  return (
    registry === 'ghcr.io' &&
    repository.startsWith('siderolabs/') &&
    !isCompanion(name) &&
    isManifestType(name.descriptor.mediaType)
  );
}

/** @returns whether a signature was added, and where all of them are */
async function signOne(
  context: RegistryContext,
  name: TargetState,
  key: KeyObject,
): Promise<SignatureTag & { readonly isNew: boolean }> {
  const { signal } = context;
  const repository = context.repository(name.repository);
  const { digest } = name.descriptor;
  const claim = claimOf(`${context.target.host}/${name.repository}`, digest);
  const tag = companionTag(digest, '.sig');
  const target = `${context.target.host}/${name.repository}:${tag}`;
  for (let round = 1; ; round++) {
    signal?.throwIfAborted();
    const there = await repository.resolve(tag, signal);
    const before = there === undefined ? undefined : await signaturesAt(context, name, there, tag);
    const layers = before?.layers ?? [];
    if (there !== undefined && layers.some((layer) => isSignedClaim(layer, claim, key))) {
      return { target, digest: there.digest, isNew: false };
    }
    const layer = signClaim(claim, key);
    const { manifest, config } = signatureManifest([...layers, layer], before?.annotations);
    await repository.push(layer, openerOf(claim), signal);
    await repository.push(config.descriptor, openerOf(config.bytes), signal);
    await repository.push(manifest.descriptor, openerOf(manifest.bytes), signal);
    try {
      await repository.tag(manifest.descriptor, tag, signal);
      return { target, digest: manifest.descriptor.digest, isNew: true };
    } catch (error) {
      if (!isCoded(error, 'DIGEST_MISMATCH') || round >= maxRounds) throw error;
    }
  }
}

async function signaturesAt(
  context: RegistryContext,
  name: TargetState,
  there: Descriptor,
  tag: string,
): Promise<{
  readonly layers: readonly Descriptor[];
  readonly annotations?: Readonly<Record<string, string>> | undefined;
}> {
  const at = `${context.target.host}/${name.repository}:${tag}`;
  const { manifest } = isManifestType(there.mediaType)
    ? await fetchManifest(context.repository(name.repository), there, context.signal)
    : { manifest: undefined };
  if (manifest?.kind === 'image' && (manifest.layers.length === 0 || areSignatures(manifest.layers))) {
    const { layers, annotations } = manifest;
    return { layers, annotations };
  }
  throw new CodedError(
    'CONFLICT',
    `${at}: holds something else than signatures; remove it, then run load again`,
  );
}
