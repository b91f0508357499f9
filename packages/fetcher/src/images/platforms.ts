/** Of the platforms that mirror.yaml wants of an image: which of its manifests they are, and which it does not have. */

import {
  type Fetcher,
  formatPlatform,
  isOfPlatforms,
  type Platform,
  parsePlatform,
  type SelectChild,
  walk,
} from '@omni-airgap/oci';
import { CodedError, printable } from '@omni-airgap/oci/base';
import { type Descriptor, type ImageManifest, isIndexType, platformOfImage } from '@omni-airgap/oci/model';
import type { WantedImage } from '../mirror/resolved-mirror.ts';

/** Which children of an index to carry; undefined for all. Manifests that name no platform (attestations) belong to all. */
export function selectPlatforms(platforms: readonly string[] | undefined): SelectChild | undefined {
  return platforms === undefined ? undefined : (child) => isOfPlatforms(child, platforms);
}

/** Images of an index whose configurations are read when it names no platforms at all; real ones have a few. */
const maxConfigs = 64;

export interface FoundPlatforms {
  /** Wanted platforms that the image has. */
  readonly carried: readonly string[];
  /** Wanted platforms that it lacks. */
  readonly missing: readonly string[];
}

/**
 * Compares what is wanted with what there is: what its indexes name, or what the configurations say where none names any.
 * What has no platform, such as a chart, lacks none.
 * @param source has the manifests that are carried, and their configurations
 * @param all every wanted platform must be there
 * @returns undefined when all platforms are wanted, or the image has none
 * @throws CONFIG when none of the wanted platforms is there, or with `all` one is not
 */
export async function findPlatforms(
  source: Fetcher,
  root: Descriptor,
  { platforms }: Pick<WantedImage, 'platforms'>,
  { all = false, signal }: { readonly all?: boolean | undefined; readonly signal?: AbortSignal | undefined },
): Promise<FoundPlatforms | undefined> {
  if (platforms === undefined) return undefined;
  const there = await platformsOf(source, root, selectPlatforms(platforms), signal);
  if (there.size === 0) return undefined;
  const has = (text: string): boolean => {
    const platform = parsePlatform(text);
    return platform !== undefined && there.has(formatPlatform(platform));
  };
  const carried = platforms.filter(has);
  const missing = platforms.filter((text) => !has(text));
  if (carried.length === 0 || (all && missing.length > 0)) {
    const only = printable([...there].join(', '));
    const remedy = all
      ? 'change platforms in mirror.yaml, give this image an entry {image: …, platforms: […]}, or leave --require-platforms out'
      : 'change platforms in mirror.yaml';
    throw new CodedError('CONFIG', `there is no ${missing.join(', ')} of it, only ${only}; ${remedy}`);
  }
  return { carried, missing };
}

/** What to say of an image that lacks some; nothing when it lacks none. */
export function missingText(missing: readonly string[] | undefined): string | undefined {
  if (missing === undefined || missing.length === 0) return undefined;
  return `has no ${missing.join(', ')} upstream; its other platforms are carried`;
}

async function platformsOf(
  source: Fetcher,
  root: Descriptor,
  select: SelectChild | undefined,
  signal: AbortSignal | undefined,
): Promise<ReadonlySet<string>> {
  const found = new Set<string>();
  const add = ({ platform }: { readonly platform?: Platform | undefined }): void => {
    if (platform !== undefined) found.add(formatPlatform(platform));
  };
  const inIndexes: SelectChild = async (child, index) =>
    isIndexType(child.mediaType) && ((await select?.(child, index)) ?? true);
  if (isIndexType(root.mediaType)) {
    for await (const visited of walk(source, [root], { select: inIndexes, blobs: false, signal })) {
      if (visited.kind === 'manifest' && visited.manifest.kind === 'index')
        visited.manifest.manifests.forEach(add);
    }
  }
  if (found.size > 0) return found;
  const images: ImageManifest[] = [];
  for await (const visited of walk(source, [root], { select, blobs: false, signal })) {
    if (visited.kind === 'manifest' && visited.manifest.kind === 'image') images.push(visited.manifest);
  }
  for (const image of images.slice(0, maxConfigs))
    add({ platform: await platformOfImage(source, image, signal) });
  return found;
}
