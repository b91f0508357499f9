/**
 * What has left a store with its bundles. `bundle --consume` removes content once the volumes that hold it are safe
 * on a medium; which volumes those are stands in `bundles/<id>/consumed`, a name a line, beside the bundle.json that
 * says what is in them. So a fetch does not bring it again, and nobody takes it for lost.
 */
import { constants } from 'node:fs';
import { open, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Descriptor } from '../descriptor.ts';
import { type Digest, isHex64 } from '../digest.ts';
import { maxBundleDocumentBytes, parseBundleDocument } from '../documents/bundle-document.ts';
import { diskError } from '../fs/disk-error.ts';
import { readSmallFile, syncFolder } from '../fs/files.ts';
import { mapOf } from './bundle-map.ts';
import { volumeName } from './volume-map.ts';

type Sized = Pick<Descriptor, 'digest' | 'size'>;

const maxRecordBytes = 1024 * 1024;
const volumeLine = /^content\.tar\.[0-9]{3}$/;

export class Carried {
  readonly #bundles: ReadonlyMap<Digest, { readonly size: number; readonly bundle: string }>;

  private constructor(bundles: ReadonlyMap<Digest, { readonly size: number; readonly bundle: string }>) {
    this.#bundles = bundles;
  }

  /** Nothing has left a store that is not there, or never gave anything away. @throws BAD_DOCUMENT, DISK */
  static async read(store: string): Promise<Carried> {
    const bundles = new Map<Digest, { readonly size: number; readonly bundle: string }>();
    for (const bundle of await readdir(join(store, 'bundles')).catch(() => [])) {
      const volumes = isHex64(bundle) ? await consumedVolumes(store, bundle) : new Set<string>();
      if (volumes.size === 0) continue;
      const path = join(store, 'bundles', bundle, 'bundle.json');
      const bytes = await readSmallFile(path, maxBundleDocumentBytes);
      if (bytes === undefined) continue;
      const map = mapOf(parseBundleDocument(bytes, path));
      for (const blob of map.blobs) {
        const { digest, size } = blob;
        if (blob.volume > 0 && map.runsOf(blob).every(({ volume }) => volumes.has(volumeName(volume))))
          bundles.set(digest, { size, bundle });
      }
    }
    return new Carried(bundles);
  }

  /** Id of a bundle whose volumes hold it, and may be all that holds it; undefined when there is none. */
  bundleOf({ digest, size }: Sized): string | undefined {
    const found = this.#bundles.get(digest);
    return found?.size === size ? found.bundle : undefined;
  }

  has(descriptor: Sized): boolean {
    return this.bundleOf(descriptor) !== undefined;
  }
}

/** Names of the volumes whose content may have left the store with this bundle. @throws DISK */
export async function consumedVolumes(store: string, bundle: string): Promise<ReadonlySet<string>> {
  const bytes = await readSmallFile(pathOf(store, bundle), maxRecordBytes);
  const lines = Buffer.from(bytes ?? [])
    .toString('latin1')
    .split('\n');
  return new Set(lines.filter((line) => volumeLine.test(line)));
}

/** Adds volumes; on the disk when this resolves, so before any of their content goes. @throws DISK */
export async function recordConsumed(
  store: string,
  bundle: string,
  volumes: readonly number[],
): Promise<void> {
  const path = pathOf(store, bundle);
  const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_APPEND | constants.O_NOFOLLOW;
  try {
    const file = await open(path, flags, 0o644);
    try {
      // A line of its own, whatever a power cut left at the end.
      await file.writeFile(`\n${volumes.map(volumeName).join('\n')}\n`);
      await file.sync();
    } finally {
      await file.close();
    }
    await syncFolder(join(path, '..'));
  } catch (error) {
    throw diskError(error, path);
  }
}

function pathOf(store: string, bundle: string): string {
  return join(store, 'bundles', bundle, 'consumed');
}
