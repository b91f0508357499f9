/**
 * Lists of images, one a line, as people keep them and as `talosctl image k8s-bundle` prints them: with tag, with
 * digest, or with both; comments and blank lines are skipped, repeated lines count once.
 */
import { CodedError, formatReference, messageOf, parseReference } from '@omni-airgap/content';

/** Ten thousand references are about a megabyte. */
export const maxImageListBytes: number = 4 * 1024 * 1024;

/**
 * @param file name for messages
 * @returns canonical references in the order they stand
 * @throws CONFIG with file and line
 */
export function parseImageList(text: string, file: string): readonly string[] {
  const references = new Set<string>();
  for (const [i, line] of text.split(/\r?\n/).entries()) {
    const content = line.replace(/(^|\s)#.*$/, '').trim();
    if (content === '') continue;
    try {
      references.add(formatReference(parseReference(content)));
    } catch (cause) {
      throw new CodedError('CONFIG', `${file}:${i + 1}: ${messageOf(cause)}`, { cause });
    }
  }
  return [...references];
}
