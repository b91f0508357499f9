/**
 * Lists of images, one a line, as people keep them and as `talosctl image k8s-bundle` prints them: with tag, with
 * digest, or with both; comments and blank lines are skipped, repeated lines count once.
 */

import { formatReference, parseReference } from '@omni-airgap/oci';
import { CodedError, messageOf, printable } from '@omni-airgap/oci/base';

/** Ten thousand references are about a megabyte. */
export const maxImageListBytes: number = 4 * 1024 * 1024;

/**
 * The canonical form of a reference that a person wrote.
 * @throws BAD_NAME; what could be a password in it is not repeated
 */
export function readReference(text: string): string {
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

/**
 * @param file name for messages
 * @returns canonical references in the order they stand
 * @throws CONFIG with file, line and column
 */
export function parseImageList(text: string, file: string): readonly string[] {
  const references = new Set<string>();
  for (const [i, line] of text
    .replace(/^\ufeff/, '')
    .split(/\r?\n/)
    .entries()) {
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
