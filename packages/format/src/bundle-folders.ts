/** Folders that hold media of the same bundle, put together by what their bundle.json says. */
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { CodedError } from '@omni-airgap/oci/base';
import { readSmallFile } from '@omni-airgap/oci/fs';
import { maxBundleDocumentBytes } from './documents/bundle-document.ts';

/** @returns groups in the order in which they were first named @throws NO_INPUT for a folder without bundle.json */
export async function bundleFolders(folders: readonly string[]): Promise<readonly (readonly string[])[]> {
  const groups = new Map<string, string[]>();
  for (const folder of folders) {
    const bytes = await readSmallFile(join(folder, 'bundle.json'), maxBundleDocumentBytes);
    if (bytes === undefined) {
      throw new CodedError('NO_INPUT', `${folder}: no bundle here (there is no file bundle.json)`);
    }
    const key = createHash('sha256').update(bytes).digest('hex');
    groups.set(key, [...(groups.get(key) ?? []), folder]);
  }
  return [...groups.values()];
}
