/**
 * Versions added to a mirror.yaml: in what was read of it, and in the file itself, which otherwise stays as it was written.
 */
import { realpath, stat } from 'node:fs/promises';
import { CodedError, recoded } from '@omni-airgap/oci/base';
import { readInput, systemError, textOf, writeFileAtomic } from '@omni-airgap/oci/fs';
import {
  type AddedItems,
  compareVersions,
  insertItems,
  isVersion,
  parseYamlFile,
  TalosError,
} from '@omni-airgap/talos';
import { hideDashes, showDashes } from './image-list.ts';
import { maxMirrorBytes, type WrittenMirror } from './mirror.ts';
import type { VersionRange } from './version-range.ts';

/** By product, the oldest first. */
export type AddedVersions = Readonly<Partial<Record<'Omni' | 'Talos' | 'Kubernetes', readonly string[]>>>;

type Versions = readonly (string | VersionRange)[];

/** The same mirror.yaml with the versions; those of a product that it has no section for are left out. */
export function withVersions(
  written: WrittenMirror,
  { Omni = [], Talos = [], Kubernetes = [] }: AddedVersions,
): WrittenMirror {
  const { omni, talos, kubernetes, media } = written;
  const more = (versions: Versions, added: readonly string[]): Versions => [...added, ...versions];
  return {
    ...written,
    omni: omni && { versions: more(omni.versions, Omni) },
    ...(talos === undefined ? {} : { talos: { ...talos, versions: more(talos.versions, Talos) } }),
    media: media.map((one) => {
      // The very list of the talos section, where an entry has none of its own.
      const isShared = one.versions === talos?.versions;
      // An upgrade takes an installer of each version; where only media name versions, they are all there is.
      const isPart = isShared || one.installers.length > 0 || talos === undefined;
      return isPart ? { ...one, versions: more(one.versions, Talos) } : one;
    }),
    kubernetes: kubernetes && { ...kubernetes, versions: more(kubernetes.versions, Kubernetes) },
  };
}

/**
 * Adds the versions to the file, before newer ones where its form allows it.
 * @throws CONFIG where there is no list to add them to; NO_INPUT, DISK
 */
export async function writeVersions(path: string, added: AddedVersions): Promise<void> {
  const bytes = await readInput('--config', path, maxMirrorBytes);
  if (bytes === undefined) throw new CodedError('NO_INPUT', `${path}: not found`);
  const text = textOf(bytes, path);
  try {
    const hidden = hideDashes(text);
    const places = placesOf(path, parseYamlFile(hidden, path).value as Places, added);
    const changed = showDashes(insertItems(hidden, path, places));
    const mark = bytes.subarray(0, bytes.byteLength - Buffer.byteLength(text));
    // Through a link, to the file that it leads to.
    const real = await realpath(path);
    const { mode } = await stat(real);
    await writeFileAtomic(real, Buffer.concat([mark, Buffer.from(changed)]), mode & 0o777);
  } catch (error) {
    throw systemError(recoded(error, TalosError, 'CONFIG'));
  }
}

/** What the shape of a mirror.yaml that was read has promised. */
interface Places {
  readonly omni?: { readonly versions?: unknown };
  readonly talos?: object;
  readonly media?: readonly { readonly versions?: unknown; readonly installers?: readonly unknown[] }[];
  readonly kubernetes?: object;
}

function placesOf(
  file: string,
  { omni, talos, kubernetes, media = [] }: Places,
  { Omni = [], Talos = [], Kubernetes = [] }: AddedVersions,
): readonly AddedItems[] {
  const place = (path: AddedItems['path'], items: readonly string[], listKey?: string): AddedItems => {
    const isAfter = (item: string): boolean =>
      isVersion(item) && compareVersions(item, items.at(-1) ?? item) > 0;
    return { path, items, isAfter, ...(listKey === undefined ? {} : { listKey }) };
  };
  const talosPlaces = [
    ...(talos === undefined ? [] : [['talos', 'versions']]),
    ...media.flatMap(({ versions, installers = [] }, i) =>
      versions !== undefined && (installers.length > 0 || talos === undefined)
        ? [['media', i, 'versions']]
        : [],
    ),
  ];
  const missing = [
    ...(Omni.length > 0 && omni === undefined ? [`omni (${Omni.join(', ')})`] : []),
    ...(Talos.length > 0 && talosPlaces.length === 0 ? [`talos.versions (${Talos.join(', ')})`] : []),
    ...(Kubernetes.length > 0 && kubernetes === undefined
      ? [`kubernetes.versions (${Kubernetes.join(', ')})`]
      : []),
  ];
  if (missing.length > 0) {
    throw new CodedError('CONFIG', `${file}: has no section for ${missing.join(' and ')}; add them by hand`);
  }
  return [
    ...(Omni.length === 0
      ? []
      : omni?.versions === undefined
        ? [place(['omni', 'version'], Omni, 'versions')]
        : [place(['omni', 'versions'], Omni)]),
    ...(Talos.length === 0 ? [] : talosPlaces.map((path) => place(path, Talos))),
    ...(Kubernetes.length === 0 ? [] : [place(['kubernetes', 'versions'], Kubernetes)]),
  ];
}
