/**
 * References: `host[:port]/repository[:tag][@digest]`, always with a registry host (nothing is guessed but
 * Docker's own short forms for docker.io). Names are scanned with linear-time patterns after a length check.
 * Sources: opencontainers/distribution-spec v1.1.1 spec.md#pulling-manifests; distribution/reference v0.6.0.
 */

import { CodedError } from '../base/errors.ts';
import { printable } from '../base/text.ts';
import { type Digest, digestFromHex, hexOf, parseDigest } from './digest.ts';

/** The parts of a reference. A registry is always named; tag, digest or both are there. */
export interface Reference {
  /** Lower-case host, with port when not the default: `ghcr.io`, `127.0.0.1:5000`. */
  readonly registry: string;
  /** Path below the host: `siderolabs/omni`. */
  readonly repository: string;
  readonly tag?: string;
  readonly digest?: Digest;
}

const tagPattern = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/;
/** Between separators there is always a letter or digit, so this pattern cannot backtrack. */
const componentPattern = /^[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*$/;
const hostPattern =
  /^(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?$/;

/** True for a tag: 1 to 128 characters of `[A-Za-z0-9_.-]`, the first no dot or dash. */
export function isTag(value: string): boolean {
  return tagPattern.test(value);
}

/** What cosign adds to the tag of what it signs; the tag without any is the referrers tag of the specification. */
export const companionSuffixes = ['.sig', '.att', '.sbom'] as const;
const companionPattern = /^sha256-([a-f0-9]{64})(\.[A-Za-z0-9._-]{1,56})?$/;

/**
 * The tag of what speaks about a manifest: `sha256-<hex>`, and with a suffix the tags of cosign.
 * Source: distribution-spec v1.1.1 spec.md#referrers-tag-schema; sigstore/cosign specs/SIGNATURE_SPEC.md.
 */
export function companionTag(subject: Digest, suffix: '' | (typeof companionSuffixes)[number] = ''): string {
  return `sha256-${hexOf(subject)}${suffix}`;
}

/**
 * What a tag `sha256-<hex>` or `sha256-<hex>.<anything>` speaks about. Suffixes are not cosign's alone: imgpkg writes
 * `.imgpkg` and `.image-locations.imgpkg`, others `.src`. Undefined for any other tag.
 */
export function subjectOfTag(tag: string): Digest | undefined {
  const hex = companionPattern.exec(tag)?.[1];
  return hex === undefined ? undefined : digestFromHex(hex);
}

/** True for the referrers tag and the tags of cosign: lists of signatures and the like, which can be united. */
export function isSignatureTag(tag: string): boolean {
  const suffix = companionPattern.exec(tag)?.[2];
  return (
    subjectOfTag(tag) !== undefined &&
    (suffix === undefined || companionSuffixes.some((one) => one === suffix))
  );
}

/** A repository path of at most 255 characters. */
export function isRepository(value: string): boolean {
  return value.length > 0 && value.length <= 255 && value.split('/').every((c) => componentPattern.test(c));
}

/** A registry host as it stands before the first slash of a reference; it fits into a URL. */
export function isRegistryHost(value: string): boolean {
  return value.length <= 260 && hostPattern.test(value) && URL.canParse(`https://${value}`);
}

/**
 * @param text such as `ghcr.io/siderolabs/omni:v1.10.4` or with both tag and digest, as talosctl prints
 * @throws BAD_NAME saying which part is wrong
 */
export function parseReference(text: string): Reference {
  const bad = (what: string): CodedError =>
    new CodedError('BAD_NAME', `${what} in reference ${printable(text)}`);
  if (text.length > 600) throw bad('too many characters');
  const at = text.indexOf('@');
  const digest = at < 0 ? undefined : parseDigest(text.slice(at + 1), `reference ${printable(text)}`);
  let name = at < 0 ? text : text.slice(0, at);
  const colon = name.lastIndexOf(':');
  let tag: string | undefined;
  if (colon > name.lastIndexOf('/')) {
    tag = name.slice(colon + 1);
    name = name.slice(0, colon);
    if (!isTag(tag)) throw bad(`bad tag ${printable(tag)}`);
  }
  const slash = name.indexOf('/');
  const first = slash < 0 ? '' : name.slice(0, slash);
  // As Docker does: without a dot, a port or "localhost" the first part is no host.
  const hasHost = first.includes('.') || first.includes(':') || first === 'localhost';
  const registry = hasHost ? (first === 'index.docker.io' ? 'docker.io' : first) : 'docker.io';
  let repository = hasHost ? name.slice(slash + 1) : name;
  if (registry === 'docker.io' && !repository.includes('/')) repository = `library/${repository}`;
  if (!isRegistryHost(registry)) {
    const hint = /[A-Z]/.test(registry) ? ' (hosts are written in lower case)' : '';
    throw bad(`bad registry host ${printable(registry)}${hint}`);
  }
  if (!isRepository(repository)) {
    const hint = /[A-Z]/.test(repository) ? ' (repository names are lower case)' : '';
    throw bad(`bad repository name ${printable(repository)}${hint}`);
  }
  if (tag === undefined && digest === undefined)
    throw bad('no tag and no digest (write :<tag> or @sha256:…)');
  return {
    registry,
    repository,
    ...(tag === undefined ? {} : { tag }),
    ...(digest === undefined ? {} : { digest }),
  };
}

/** The canonical text of a reference. */
export function formatReference(ref: Reference): string {
  const tag = ref.tag === undefined ? '' : `:${ref.tag}`;
  const digest = ref.digest === undefined ? '' : `@${ref.digest}`;
  return `${ref.registry}/${ref.repository}${tag}${digest}`;
}
