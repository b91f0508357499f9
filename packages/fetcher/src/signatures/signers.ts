/** Which images must be signed and by whom, as the operator says it, and what is found of an image. */

import type { Fetcher } from '@omni-airgap/oci';
import { CodedError, isCoded, messageOf } from '@omni-airgap/oci/base';
import { companionTag, type Descriptor, parseReference } from '@omni-airgap/oci/model';
import type { LockedItem } from '@omni-airgap/store';
import { publicFactoryHost } from '@omni-airgap/talos';
import type { Companion } from '../images/companions.ts';
import { type ImageKey, readImageKey, verifyImage } from './cosign.ts';
import { type ImageIdentity, readIdentities } from './identity.ts';
import { verifyKeyless } from './keyless.ts';
import { SigstoreRoot } from './sigstore-root.ts';

export interface SignerOptions {
  /** `FILE` or `PREFIX=FILE`: images (that begin with the prefix) must carry a cosign signature by the key in it. */
  readonly verifyImagesKeys?: readonly string[];
  /** A trusted_root.json of Sigstore: with it identities are verified too. */
  readonly sigstoreRoot?: string | undefined;
  /** `REGEXP` or `PREFIX=REGEXP`: the same by an identity; default: Sidero's, for its images. */
  readonly verifyImagesIdentities?: readonly string[];
  /** Who vouches for them: one for all, or one for each; default: Google, as for Sidero. */
  readonly verifyImagesIssuers?: readonly string[];
  /** Images that begin with one of these may be without a signature. */
  readonly verifyImagesExcept?: readonly string[];
}

export interface ExpectedSigners {
  readonly keys: readonly ImageKey[];
  readonly keyless?: { readonly identities: readonly ImageIdentity[]; readonly root: SigstoreRoot };
  readonly except: readonly string[];
}

/** @throws NO_INPUT, CONFIG */
export async function readSigners(options: SignerOptions): Promise<ExpectedSigners> {
  const { sigstoreRoot, verifyImagesIdentities = [], verifyImagesIssuers = [] } = options;
  const keys = await Promise.all((options.verifyImagesKeys ?? []).map(readImageKey));
  const expected = { keys, except: options.verifyImagesExcept ?? [] };
  if (sigstoreRoot !== undefined) {
    const identities = readIdentities(verifyImagesIdentities, verifyImagesIssuers);
    return { ...expected, keyless: { identities, root: await SigstoreRoot.read(sigstoreRoot) } };
  }
  if (verifyImagesIdentities.length + verifyImagesIssuers.length > 0) {
    throw new CodedError(
      'CONFIG',
      'identities are verified against --sigstore-root FILE, which is missing; cosign trusted-root create makes one',
    );
  }
  return expected;
}

/**
 * Any one of those who are expected is enough.
 * @param unlisted why there may be signatures that were not found, from Companions.unlistedAt
 * @returns undefined when nobody is expected, or when there is no signature where there may be none
 * @throws BAD_SIGNATURE; UPSTREAM where no signature was found and `unlisted` says that some may exist
 */
export async function verifySigned(
  source: Fetcher,
  { keys, keyless, except }: ExpectedSigners,
  reference: string,
  root: Descriptor,
  companions: readonly Companion[],
  { unlisted }: { readonly unlisted?: CodedError | undefined } = {},
): Promise<LockedItem['verified']> {
  const isMeant = ({ prefix }: { readonly prefix: string }): boolean =>
    // The factory signs with a key of its own.
    prefix === '' ? !reference.startsWith(`${publicFactoryHost}/`) : reference.startsWith(prefix);
  const byKey = keys.filter(isMeant);
  const byIdentity = keyless?.identities.filter(isMeant) ?? [];
  if (byKey.length + byIdentity.length === 0) return undefined;
  const image = { digest: root.digest, repository: parseReference(reference).repository };
  const tagged = companions.find(({ name }) => name === companionTag(root.digest, '.sig'))?.descriptor;
  const reasons: string[] = [];
  const orReason = async <T>(work: Promise<T>): Promise<T | undefined> => {
    try {
      return await work;
    } catch (error) {
      if (!isCoded(error, 'BAD_SIGNATURE')) throw error;
      reasons.push(messageOf(error));
      return undefined;
    }
  };
  const referrers = companions.filter(({ name }) => name.startsWith('@')).map(({ descriptor }) => descriptor);
  const manifests = { referrers, tagged };
  if (byKey.length > 0) {
    const found = await orReason(verifyImage(source, manifests, image, byKey));
    if (found !== undefined) return found;
  }
  if (keyless !== undefined && byIdentity.length > 0) {
    const found = await orReason(verifyKeyless(source, manifests, image, byIdentity, keyless.root));
    if (found !== undefined) return found;
  }
  if (reasons.length > 0) throw new CodedError('BAD_SIGNATURE', reasons.join('; '));
  if (except.some((prefix) => reference.startsWith(prefix))) return undefined;
  if (unlisted !== undefined) {
    throw new CodedError(
      'UPSTREAM',
      `no signature was found, and some may be unlisted: ${unlisted.message}`,
      {
        cause: unlisted,
      },
    );
  }
  const [flag, remedy] =
    byKey.length > 0
      ? ['--verify-images-key', 'narrow it with PREFIX=FILE if this image is not meant']
      : ['--verify-images-identity', 'narrow it with PREFIX=REGEXP if this image is not meant'];
  throw new CodedError(
    'BAD_SIGNATURE',
    `has no signature, and ${flag} wants one; ${remedy}, or let it pass with --verify-images-except PREFIX`,
  );
}
