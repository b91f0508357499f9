/**
 * The images that a mirror.yaml names: references, repositories with a range of tags, and files or standard input with one
 * reference a line.
 */
import { resolve } from 'node:path';
import { CodedError, messageOf, printable } from '@omni-airgap/oci/base';
import { readInput, textOf } from '@omni-airgap/oci/fs';
import { collect, formatReference, parseReference } from '@omni-airgap/oci/model';
import type { YamlFile } from '@omni-airgap/talos';
import type { RawMirror } from './schema.ts';
import { rangeKey, type VersionRange } from './version-range.ts';

/** YAML has no plain `-` as a value; `file: -` is what people write. As long as that, so places stay right. */
const dash = '\ue000';
const isStdin = (file: string): boolean => file === '-' || file === dash;

/** The text in which each `file: -` is YAML, at the same places. */
export function hideDashes(text: string): string {
  return text.replace(/(\bfile:[ \t]+)-(?=[ \t]*(?:\}|#|\r?$))/gm, `$1${dash}`);
}

/** The text as it was before, a part of it too. */
export function showDashes(text: string): string {
  return text.replace(/(\bfile:[ \t]+)\ue000(?=[ \t]*(?:\}|#|\r?$))/gm, '$1-');
}

/** @typeParam V string, where all versions are known; a range besides, where upstream says some */
export interface ImageOf<V> {
  /** Canonical; without tag where `tags` says which. */
  readonly reference: string;
  readonly tags?: Exclude<V, string>;
  /** Where its entry says other ones than mirror.yaml as a whole. */
  readonly platforms?: readonly string[];
}

/** @throws BAD_YAML, CONFIG with the place @param stdin where `{file: -}` is read from */
export async function readImages(
  raw: RawMirror['images'],
  folder: string,
  source: YamlFile,
  stdin: AsyncIterable<Uint8Array>,
): Promise<readonly ImageOf<string | VersionRange>[]> {
  const images = new Map<string, ImageOf<string | VersionRange>>();
  const add = (reference: string, platforms: readonly string[] | undefined, tags?: VersionRange): void => {
    const key = `${reference} ${platforms?.join(' ')} ${tags === undefined ? '' : rangeKey(tags)}`;
    images.set(key, {
      reference,
      ...(tags === undefined ? {} : { tags }),
      ...(platforms === undefined ? {} : { platforms }),
    });
  };
  let readsStdin = false;
  for (const [i, wanted] of raw.entries()) {
    const at = ['images', i];
    const entry: Exclude<typeof wanted, string> = typeof wanted === 'string' ? { image: wanted } : wanted;
    const { image, file, platforms, tags } = entry;
    if ((image === undefined) === (file === undefined)) {
      throw source.error(at, `images[${i}] must name either an image or a file`);
    }
    if (tags !== undefined && image === undefined) {
      throw source.error([...at, 'tags'], `images[${i}].tags belongs to an image, not to a file`);
    }
    if (image !== undefined) {
      try {
        if (tags === undefined) add(readReference(image), platforms);
        else {
          const list = readRepository(image);
          const { semver: range, newest } = tags;
          add(list, platforms, { list, range, newest, place: source.placeOf([...at, 'tags']) });
        }
      } catch (cause) {
        throw source.error(at, messageOf(cause));
      }
      continue;
    }
    if (file === undefined) continue;
    let bytes: Uint8Array | undefined;
    if (isStdin(file)) {
      if (readsStdin) throw source.error(at, 'standard input can be read once only');
      readsStdin = true;
      bytes = await collect(stdin, maxImageListBytes, 'standard input');
    } else bytes = await readInput('file', resolve(folder, file), maxImageListBytes);
    if (bytes === undefined) throw source.error(at, `${printable(file)}: no such file`);
    const name = isStdin(file) ? 'standard input' : resolve(folder, file);
    for (const reference of parseImageList(textOf(bytes, name), name)) add(reference, platforms);
  }
  return [...images.values()];
}

/** Ten thousand references are about a megabyte. */
export const maxImageListBytes: number = 4 * 1024 * 1024;

/**
 * The canonical form of a reference that a person wrote.
 * @throws BAD_NAME; what could be a password in it is not repeated
 */
function readReference(text: string): string {
  if (text.includes('://')) {
    throw new CodedError(
      'BAD_NAME',
      'a reference has no scheme; write ghcr.io/dexidp/dex:v2.41.1, without https://',
    );
  }
  if (/\s/.test(text)) {
    throw new CodedError(
      'BAD_NAME',
      `a reference has no spaces: ${printable(text)}; put each image into an entry or line of its own`,
    );
  }
  return formatReference(parseReference(text));
}

/** `ghcr.io/dexidp/dex` as a person wrote it, where `tags` says which. @throws BAD_NAME for one with a tag or digest */
function readRepository(text: string): string {
  if (/[:@]/.test(text.slice(text.lastIndexOf('/') + 1))) {
    throw new CodedError(
      'BAD_NAME',
      `${printable(text)}: tags says which ones are carried; write the image without a tag or digest`,
    );
  }
  const { registry, repository } = parseReference(readReference(`${text}:latest`));
  return `${registry}/${repository}`;
}

/**
 * Lists of images, one a line, as people keep them and as `talosctl image k8s-bundle` prints them: with tag, with
 * digest, or with both; comments and blank lines are skipped, repeated lines count once.
 * @param file name for messages
 * @returns canonical references in the order they stand
 * @throws CONFIG with file, line and column
 */
export function parseImageList(text: string, file: string): readonly string[] {
  const references = new Set<string>();
  for (const [i, line] of text.split(/\r?\n/).entries()) {
    const content = line.replace(/(^|\s)#.*$/, '').trim();
    if (content === '') continue;
    try {
      references.add(readReference(content));
    } catch (cause) {
      const column = line.indexOf(content) + 1;
      throw new CodedError('CONFIG', `${file}:${i + 1}:${column}: ${messageOf(cause)}`, { cause });
    }
  }
  return [...references];
}
