/**
 * What the page lists: boot assets, talosctl, installers, images. And the search over all of it, which runs here, so that
 * it works without script and over more than a page shows.
 */
import { type Descriptor, subjectOfTag } from '@omni-airgap/oci/model';
import { compareVersions, isVersion, schematicRepository } from '@omni-airgap/talos';
import type { Provenance } from '../bundles.ts';
import type { HeldInstaller, HeldMedia, Holdings } from '../factory/holdings.ts';
import type { Catalog } from '../registry/catalog.ts';
import { parseInstallerPath } from '../registry/installers.ts';
import { listedPaths } from '../registry/lists.ts';
import { OlderContent } from './older.ts';

type Files = ReadonlyMap<string, Descriptor>;

/** A repository that can be pulled from, by its path at this server. */
export interface ListedRepository {
  readonly path: string;
  /** Newest first. */
  readonly tags: readonly string[];
}

export interface Contents {
  readonly older: OlderContent;
  /** Newest version first, and ISOs before other files. */
  readonly media: readonly HeldMedia[];
  /** By version, newest first. */
  readonly talosctl: readonly (readonly [version: string, files: Files])[];
  readonly installers: readonly HeldInstaller[];
  /** In the order of their paths. */
  readonly repositories: readonly ListedRepository[];
}

/** Longer ones match nothing that is here. */
export const maxQueryLength = 300;

/**
 * @param versions of Talos, oldest first
 * @param olderNames names of bundles that are not the newest of their store
 */
export function contentsOf(
  catalog: Catalog,
  holdings: Holdings,
  versions: readonly string[],
  olderNames: ReadonlyMap<string, Provenance>,
): Contents {
  return {
    older: new OlderContent(catalog, olderNames),
    media: holdings
      .media()
      .map((held) => ({ ...held, files: new Map([...held.files].sort(isoFirst)) }))
      .sort((a, b) => compareVersions(b.version, a.version)),
    talosctl: versions
      .toReversed()
      .map((version) => [version, holdings.list('talosctl', version)] as const)
      .filter(([, files]) => files.size > 0),
    installers: holdings.installers(),
    repositories: listedPaths(catalog).flatMap((path) => {
      const tags = [...(catalog.repository(path)?.tags.keys() ?? [])].filter(
        (tag) => subjectOfTag(tag) === undefined,
      );
      return tags.length === 0 || isOfFactory(path) ? [] : [{ path, tags: tags.sort(newerFirst) }];
    }),
  };
}

/** What the Image Factory's part of the page shows; with a host in front, it is the same. */
function isOfFactory(path: string): boolean {
  const own = path.replace(/^[^/]*[.][^/]*\//, '');
  return parseInstallerPath(own) !== undefined || own.startsWith('talos-') || own === schematicRepository;
}

/** What people come for before all else; the rest stays in order. */
function isoFirst([a]: readonly [string, unknown], [b]: readonly [string, unknown]): number {
  return Number(b.endsWith('.iso')) - Number(a.endsWith('.iso'));
}

const byNumbers = new Intl.Collator('en', { numeric: true });

function newerFirst(a: string, b: string): number {
  return isVersion(a) && isVersion(b) ? compareVersions(b, a) : byNumbers.compare(b, a);
}

/** What has all words of a query in its name, in any case: `siderolabs/kubelet:v1.36.2`, `metal-amd64.iso v1.13.9 <schematic>`. */
export function search(contents: Contents, query: string, host: string): Contents {
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  const matches = (text: string): boolean => {
    const lower = text.toLowerCase();
    return words.every((word) => lower.includes(word));
  };
  const matching = (files: Files, about: string): Files =>
    new Map([...files].filter(([name]) => matches(`${name} ${about}`)));
  return {
    older: contents.older,
    media: contents.media
      .map((held) => ({ ...held, files: matching(held.files, `talos ${held.version} ${held.schematic}`) }))
      .filter(({ files }) => files.size > 0),
    talosctl: contents.talosctl
      .map(([version, files]) => [version, matching(files, version)] as const)
      .filter(([, files]) => files.size > 0),
    installers: contents.installers
      .map((one) => ({
        ...one,
        versions: one.versions.filter((version) =>
          matches(`${host}/${one.repository}/${one.schematic}:${version}`),
        ),
      }))
      .filter(({ versions }) => versions.length > 0),
    repositories: contents.repositories
      .map(({ path, tags }) => ({ path, tags: tags.filter((tag) => matches(`${host}/${path}:${tag}`)) }))
      .filter(({ tags }) => tags.length > 0),
  };
}

/** `3 names, 1 file`: installers and images by tag, boot assets and talosctl by file. */
export function countOf({ media, talosctl, installers, repositories }: Contents): {
  readonly names: number;
  readonly files: number;
} {
  const sum = (numbers: readonly number[]): number => numbers.reduce((a, b) => a + b, 0);
  return {
    names:
      sum(installers.map(({ versions }) => versions.length)) +
      sum(repositories.map(({ tags }) => tags.length)),
    files: sum(media.map(({ files }) => files.size)) + sum(talosctl.map(([, files]) => files.size)),
  };
}
