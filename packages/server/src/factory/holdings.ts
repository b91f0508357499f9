/**
 * What of the Image Factory's is here: schematics, media, installers, lists. One implementation reads what was carried,
 * another one what was loaded into a registry and a bucket.
 */
import type { Digest } from '@omni-airgap/oci/model';
import { type Architecture, compareVersions, isVersion, type ListName, vPrefixed } from '@omni-airgap/talos';
import type { Body } from '../http/message.ts';

/** A file as it is listed. */
export interface ListedFile {
  /** Bytes. */
  readonly size: number;
  /** Undefined where listing it does not tell. */
  readonly digest?: Digest | undefined;
}

export type ListedFiles = ReadonlyMap<string, ListedFile>;

/** Files of one schematic and version. */
export interface HeldMedia {
  readonly schematic: string;
  readonly version: string;
  readonly files: ListedFiles;
}

export interface HeldInstaller {
  readonly schematic: string;
  /** Such as `metal-installer`. */
  readonly repository: string;
  /** Newest first. */
  readonly versions: readonly string[];
}

/** A file that can be given. */
export interface HeldFile {
  readonly digest: Digest;
  /** Undefined when it is gone since. @throws DISK */
  body(): Promise<Body | undefined>;
  /** A small one, verified. @param max bytes @throws DIGEST_MISMATCH, MISSING_CONTENT, BAD_DOCUMENT, and as Holdings */
  read(max: number, signal?: AbortSignal): Promise<Uint8Array>;
}

/** Every method may throw what the place of the content throws: DISK, or DENIED, UPSTREAM, NETWORK, ABORTED. */
export interface Holdings {
  /** IDs of schematics that others may know, in byte order. */
  schematics(signal?: AbortSignal): Promise<readonly string[]>;
  hasSchematic(id: string, signal?: AbortSignal): Promise<boolean>;
  /** The canonical text; undefined when there is none. */
  schematic(id: string, signal?: AbortSignal): Promise<Uint8Array | undefined>;
  /** The newest release of the Image Factory among the images; undefined when there is none. */
  factoryVersion(signal?: AbortSignal): Promise<string | undefined>;
  /** All media, by schematic and version. */
  media(signal?: AbortSignal): Promise<readonly HeldMedia[]>;
  /** Media files of one schematic and version, by name. */
  files(schematic: string, version: string, signal?: AbortSignal): Promise<ListedFiles>;
  file(schematic: string, version: string, name: string, signal?: AbortSignal): Promise<HeldFile | undefined>;
  /** The kernel does not depend on the schematic. */
  kernel(version: string, arch: Architecture, signal?: AbortSignal): Promise<HeldFile | undefined>;
  installers(signal?: AbortSignal): Promise<readonly HeldInstaller[]>;
  /** Talos versions that something is here of, oldest first, as the Image Factory lists them. */
  versions(signal?: AbortSignal): Promise<readonly string[]>;
  /** Files of a list, by name. @param version for lists that belong to one */
  list(name: ListName, version?: string, signal?: AbortSignal): Promise<ListedFiles>;
  listed(name: ListName, file: string, version?: string, signal?: AbortSignal): Promise<HeldFile | undefined>;
}

/** Of a list. */
export const maxListBytes: number = 4 * 1024 * 1024;

/** The versions among tags, newest first. */
export function versionsOf(tags: Iterable<string>): readonly string[] {
  return [...tags].filter(isVersion).sort((a, b) => compareVersions(b, a));
}

/** What the Image Factory answers to /versions. @throws SyntaxError; and as HeldFile.read */
export async function readVersions(
  file: HeldFile | undefined,
  signal?: AbortSignal,
): Promise<readonly string[]> {
  const bytes = await file?.read(maxListBytes, signal);
  const list: unknown = bytes === undefined ? [] : JSON.parse(Buffer.from(bytes).toString('utf8'));
  return Array.isArray(list) ? list.filter((v) => typeof v === 'string' && isVersion(v)).map(vPrefixed) : [];
}
