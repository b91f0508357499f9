/**
 * Names inside: an image loses its registry host, so that a registry mirror setting finds it. Two names that would
 * become one with different content are refused, both named.
 */

import { CodedError, printable } from '@omni-airgap/oci/base';
import {
  type Descriptor,
  isRegistryHost,
  isRepository,
  parseReference,
  type Reference,
} from '@omni-airgap/oci/model';
import { type Artifact, parseArtifact } from '@omni-airgap/talos';

export interface RegistryTarget {
  /** Host with port, if any. */
  readonly host: string;
  /** Path in front of every repository, or empty. */
  readonly prefix: string;
}

export interface PlacedName {
  /** The name in the bundle. */
  readonly name: string;
  readonly descriptor: Descriptor;
  /** Repository below the host, prefix included. */
  readonly repository: string;
  /** Undefined for content that is known by its digest alone. */
  readonly tag: string | undefined;
}

/** What the tag of an index stands for instead of it. */
export interface Replacement {
  readonly how: 'flattened' | 'trimmed';
  /** As it is outside. */
  readonly index: Descriptor;
  readonly descriptor: Descriptor;
}

/** @param text `HOST[:PORT][/PREFIX]` @throws USAGE */
export function parseRegistryTarget(text: string): RegistryTarget {
  const plain = text.replace(/\/+$/, '');
  const slash = plain.indexOf('/');
  const host = slash < 0 ? plain : plain.slice(0, slash);
  const prefix = slash < 0 ? '' : plain.slice(slash + 1);
  if (!isRegistryHost(host) || (prefix !== '' && !isRepository(prefix))) {
    const hint = text.includes('://') ? ' (leave the scheme out; --plain-http HOST allows http)' : '';
    throw new CodedError('USAGE', `--registry ${printable(text)}: write HOST[:PORT][/PREFIX]${hint}`);
  }
  return { host, prefix };
}

/** How people name the registry: host and prefix. */
export function targetText({ host, prefix }: RegistryTarget): string {
  return prefix === '' ? host : `${host}/${prefix}`;
}

/**
 * @param names names of a bundle and what they stand for
 * @param keepHost puts the host the name had in front of its path
 * @throws CONFLICT naming both names
 */
export function placeNames(
  names: Iterable<readonly [string, Descriptor]>,
  prefix: string,
  keepHost: boolean,
): readonly PlacedName[] {
  const taken = new Map<string, PlacedName>();
  const placed: PlacedName[] = [];
  for (const [name, descriptor] of names) {
    if (isDigestName(name)) continue;
    const reference = parseReference(name);
    const repository = placeRepository(reference, prefix, keepHost);
    const place = { name, descriptor, repository, tag: reference.tag };
    placed.push(place);
    if (place.tag === undefined) continue;
    const key = `${repository}:${place.tag}`;
    const other = taken.get(key);
    if (other !== undefined && other.descriptor.digest !== descriptor.digest) {
      throw new CodedError('CONFLICT', `${other.name} and ${name} would both become ${key}; use --keep-host`);
    }
    taken.set(key, place);
  }
  return placed;
}

/** Where a repository lies inside, below the host. */
export function placeRepository(
  { registry, repository }: Pick<Reference, 'registry' | 'repository'>,
  prefix: string,
  keepHost: boolean,
): string {
  // A port has no place in a repository name.
  const host = keepHost ? [registry.replace(/:/g, '-')] : [];
  return [...(prefix === '' ? [] : [prefix]), ...host, repository].join('/');
}

/**
 * The artifact of an Image Factory that a name in a bundle stands for; undefined for all that fetch does not make.
 * @throws BAD_NAME; TalosError for an invalid schematic ID or version
 */
export function artifactOf(name: string): Artifact | undefined {
  return isDigestName(name) ? undefined : parseArtifact(parseReference(name));
}

/** True for the name of content that goes by its digest only: it is nowhere by itself, and comes with what needs it. */
export function isDigestName(name: string): boolean {
  return name.startsWith('@');
}

/** A path below a prefix that may be empty. */
export function belowPrefix(prefix: string, path: string): string {
  return prefix === '' ? path : `${prefix}/${path}`;
}
