/**
 * A file of the Image Factory in the store. The factory promises no digest, so the first fetch decides what a file
 * is: lock.json pins it, and another one under its name is a conflict. Fault F22.
 */

import type { Progress } from '@omni-airgap/oci';
import { CodedError, type WorkQueue } from '@omni-airgap/oci/base';
import type { SlowHosts } from '@omni-airgap/oci/http';
import type { Layout } from '@omni-airgap/oci/layout';
import type { Descriptor } from '@omni-airgap/oci/model';
import type { DownloadJournal, LockDocument, LockedFile } from '@omni-airgap/store';
import { contentTypeOf, publicFactoryHost } from '@omni-airgap/talos';
import pLimit from 'p-limit';
import type { FactoryClient } from './client.ts';

export interface FactoryContext {
  readonly factory: FactoryClient;
  readonly layout: Layout;
  readonly journal: DownloadJournal;
  /** Shared with all other content: the largest goes first. */
  readonly transfers: WorkQueue;
  readonly builds: Builds;
  /** What the store was locked to before, if it was. */
  readonly lock: LockDocument | undefined;
  /** Whether content that looks secret may be stored. */
  readonly allowSecrets: boolean;
  readonly progress: Progress;
  /** Addresses of the files that are in the journal, to be forgotten once lock.json names them. */
  readonly journaled: Set<string>;
}

interface WantedFile {
  readonly name: string;
  /** Below the factory's URL. */
  readonly path: string;
  readonly version: string;
  /** As the lock pins it. */
  readonly known: LockedFile | undefined;
  /** Looks at a file that has just come; what it throws keeps the file out of the lock. */
  readonly check?: (descriptor: Descriptor) => Promise<void>;
}

export function descriptorOfFile({ name, digest, size }: LockedFile): Descriptor {
  return { mediaType: contentTypeOf(name), digest, size };
}

/** @throws CONFLICT when the factory now has another file; as the download */
export async function fetchFile(context: FactoryContext, wanted: WantedFile): Promise<LockedFile> {
  const { layout, journal, factory, journaled } = context;
  const { name, path, version, known } = wanted;
  if (known !== undefined && (await layout.has(descriptorOfFile(known)))) return known;
  const source = `${factory.base}/${path}`;
  const { digest, size, ...rest } = await bring(context, path, `${name} ${version}`);
  if (known !== undefined && known.digest !== digest) {
    await journal.forget(source);
    throw new CodedError(
      'CONFLICT',
      `${name} ${version}: the factory now has ${digest}, lock.json pins ${known.digest}; remove its entry from lock.json to accept the new one`,
    );
  }
  await wanted.check?.({ digest, size, ...rest });
  await journal.write(source, { state: 'done', size, digest });
  journaled.add(source);
  return { name, digest, size, source, fetchedAt: new Date().toISOString() };
}

/** Into the layout: built, then fetched when its turn comes. */
async function bring(context: FactoryContext, path: string, label: string): Promise<Descriptor> {
  const { factory, layout, journal, transfers, builds, progress } = context;
  const done = await journal.read(`${factory.base}/${path}`);
  if (done?.state === 'done') {
    const descriptor = { mediaType: contentTypeOf(path), digest: done.digest, size: done.size };
    if (await layout.has(descriptor)) return descriptor;
  }
  const size = await builds.run(label, () => factory.sizeOf(path));
  progress.expect(size);
  let got = 0;
  return transfers.run(size, async () => {
    try {
      return await factory.fetch(layout, journal, { path, size }, (bytes) => {
        got += bytes;
        progress.advance(bytes);
        progress.item?.(label, { doing: 'fetching', done: got, size });
      });
    } finally {
      progress.item?.(label, undefined);
    }
  });
}

/** A first build of a disk image has been seen to take minutes; its answer does not begin before that. */
export const slowFactory: SlowHosts = { hosts: [publicFactoryHost], headersTimeoutMs: 15 * 60_000 };
const atOnce = 8;

export class Builds {
  readonly #progress: Progress;
  readonly #limit = pLimit(atOnce);

  constructor(progress: Progress) {
    this.#progress = progress;
  }

  /** @param name of what is built @param ask the first question about it */
  run<T>(name: string, ask: () => Promise<T>): Promise<T> {
    return this.#limit(async () => {
      this.#progress.item?.(name, { doing: 'building at the factory' });
      try {
        return await ask();
      } finally {
        this.#progress.item?.(name, undefined);
      }
    });
  }
}
