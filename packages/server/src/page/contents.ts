/**
 * What the page lists: boot assets, talosctl, installers, images. And the search over all of it, which runs here, so that
 * it works without script and over more than a page shows.
 */
import { subjectOfTag } from '@omni-airgap/oci/model';
import { compareVersions, isVersion, schematicRepository } from '@omni-airgap/talos';
import type { HeldInstaller, HeldMedia, Holdings, ListedFiles } from '../factory/holdings.ts';
import { parseInstallerPath } from '../registry/installers.ts';
import type { ImageIndex, ListedRepository } from './image-index.ts';
import type { OlderMarks } from './older.ts';

export interface Contents {
  readonly older: OlderMarks;
  /** Newest version first, and ISOs before other files. */
  readonly media: readonly HeldMedia[];
  /** By version, newest first. */
  readonly talosctl: readonly (readonly [version: string, files: ListedFiles])[];
  readonly installers: readonly HeldInstaller[];
  /** In the order of their paths, of each the newest tag first. */
  readonly repositories: readonly ListedRepository[];
}

/** Longer ones match nothing that is here. */
export const maxQueryLength = 300;

/** @param versions of Talos, oldest first */
export async function contentsOf(
  images: ImageIndex,
  holdings: Holdings,
  versions: readonly string[],
  signal: AbortSignal,
): Promise<Contents> {
  const talosctl: (readonly [string, ListedFiles])[] = [];
  for (const version of versions.toReversed()) {
    const files = await holdings.list('talosctl', version, signal);
    if (files.size > 0) talosctl.push([version, files]);
  }
  const media = await holdings.media(signal);
  return {
    older: images.older,
    media: media
      .map((held) => ({ ...held, files: new Map([...held.files].sort(isoFirst)) }))
      .sort((a, b) => compareVersions(b.version, a.version)),
    talosctl,
    installers: await holdings.installers(signal),
    repositories: (await images.repositories(signal)).flatMap(({ path, tags: all }) => {
      const tags = all.filter((tag) => subjectOfTag(tag) === undefined);
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
  const matching = (files: ListedFiles, about: string): ListedFiles =>
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
