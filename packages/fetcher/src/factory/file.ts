/**
 * A file of the Image Factory in the store. The factory promises no digest, so the first fetch decides what a file
 * is: lock.json pins it, and another one under its name is a conflict. Fault F22.
 */

import type { Progress, Transfers } from '@omni-airgap/oci';
import { CodedError } from '@omni-airgap/oci/base';
import type { SlowHosts } from '@omni-airgap/oci/http';
import type { Layout } from '@omni-airgap/oci/layout';
import type { Descriptor, Digest } from '@omni-airgap/oci/model';
import type { DownloadJournal, LockDocument, LockedFile } from '@omni-airgap/store';
import { contentTypeOf, publicFactoryHost } from '@omni-airgap/talos';
import pLimit from 'p-limit';
import type { FactoryClient } from './client.ts';
import type { Offers } from './offers.ts';
import { faultOfStored, pinName, type Repins } from './pin.ts';

export interface FactoryContext {
  readonly factory: FactoryClient;
  readonly offers: Offers;
  readonly layout: Layout;
  readonly journal: DownloadJournal;
  /** Shared with all other content: the largest goes first. */
  readonly transfers: Transfers;
  readonly builds: Builds;
  /** What the store was locked to before, if it was. */
  readonly lock: LockDocument | undefined;
  readonly repins: Repins;
  /** Account and machine, for the record. */
  readonly by: string | undefined;
  /** Whether content that looks secret may be stored. */
  readonly allowSecrets: boolean;
  readonly progress: Progress;
  /** Told how many bytes of files come. */
  readonly onReceived: (bytes: number) => void;
  /** Addresses of the files that are in the journal, to be forgotten once lock.json names them. */
  readonly journaled: Set<string>;
}

interface WantedFile {
  /** Name of the item that lists it in lock.json. */
  readonly item: string;
  readonly name: string;
  /** Below the factory's URL. */
  readonly path: string;
  readonly version: string;
  /** As the lock pins it. */
  readonly known: LockedFile | undefined;
  /** Called when its size is known. */
  readonly sized?: () => void;
  /** Looks at a file that has just come; what it throws keeps the file out of the lock. */
  readonly check?: (descriptor: Descriptor) => Promise<void>;
}

export function descriptorOfFile({ name, digest, size }: LockedFile): Descriptor {
  return { mediaType: contentTypeOf(name), digest, size };
}

/** How many replaced pins lock.json remembers of one file. */
const mostReplaced = 16;

/**
 * @throws UPSTREAM when it cannot be what its name says, in the store too; CONFLICT when the factory now has another file
 * and its pin is not to be replaced; as the download
 */
export async function fetchFile(context: FactoryContext, wanted: WantedFile): Promise<LockedFile> {
  const { layout, journal, factory, journaled } = context;
  const { item, name, path, version, known } = wanted;
  const source = `${factory.base}/${path}`;
  const isReplaced = context.repins.take(item, name);
  if (isReplaced) {
    // What is to be replaced may be what the journal remembers.
    if ((await journal.read(source))?.state === 'done') await journal.forget(source);
  } else if (known !== undefined && (await layout.has(descriptorOfFile(known)))) {
    await requireRight(layout, item, known);
    return known;
  }
  const descriptor = await bring(context, path, `${name} ${version}`, wanted.sized);
  const { digest, size } = descriptor;
  const fault = await faultOfStored(layout, name, descriptor);
  if (fault !== undefined) {
    await journal.forget(source);
    throw new CodedError('UPSTREAM', `${name} ${version}: ${fault}; run fetch to download it again`);
  }
  if (known !== undefined && known.digest !== digest && !isReplaced) {
    await journal.forget(source);
    throw new CodedError(
      'CONFLICT',
      `${name} ${version}: the factory now has ${digest}, lock.json pins ${known.digest}; to accept the new one, run fetch with --repin ${pinName(item, name)}`,
    );
  }
  await wanted.check?.(descriptor);
  await journal.write(source, { state: 'done', size, digest });
  journaled.add(source);
  const replaced = replacedBy(known, digest, context.by);
  return { name, digest, size, source, fetchedAt: new Date().toISOString(), ...replaced };
}

/**
 * Looks at content that is pinned: an earlier version pinned whatever came.
 * @throws UPSTREAM with the way to replace it
 */
export async function requireRight(layout: Layout, item: string, file: LockedFile): Promise<void> {
  const fault = await faultOfStored(layout, file.name, descriptorOfFile(file));
  if (fault === undefined) return;
  throw new CodedError(
    'UPSTREAM',
    `${file.name}: lock.json pins ${file.digest}, but ${fault}; to fetch it again, run fetch with --repin ${pinName(item, file.name)}`,
  );
}

/** What a file was pinned to before, the latest first. */
function replacedBy(
  known: LockedFile | undefined,
  digest: Digest,
  by: string | undefined,
): Pick<LockedFile, 'replaced'> {
  const earlier = known?.replaced ?? [];
  if (known === undefined || known.digest === digest)
    return earlier.length === 0 ? {} : { replaced: earlier };
  const one = {
    digest: known.digest,
    size: known.size,
    fetchedAt: known.fetchedAt,
    replacedAt: new Date().toISOString(),
    ...(by === undefined ? {} : { replacedBy: by }),
  };
  return { replaced: [one, ...earlier].slice(0, mostReplaced) };
}

/** Into the layout: built, then fetched when its turn comes. */
async function bring(
  context: FactoryContext,
  path: string,
  label: string,
  sized: () => void = () => {},
): Promise<Descriptor> {
  const { factory, layout, journal, transfers, builds, progress } = context;
  const done = await journal.read(`${factory.base}/${path}`);
  if (done?.state === 'done') {
    const descriptor = { mediaType: contentTypeOf(path), digest: done.digest, size: done.size };
    if (await layout.has(descriptor)) return descriptor;
  }
  const size = await builds.run(label, () => factory.sizeOf(path));
  progress.expect(size);
  sized();
  let got = 0;
  const transfer = async (): Promise<Descriptor> => {
    try {
      return await factory.fetch(layout, journal, { path, size }, (bytes) => {
        got += bytes;
        progress.advance(bytes);
        context.onReceived(bytes);
        progress.item?.(label, { doing: 'fetching', done: got, size });
      });
    } finally {
      progress.item?.(label, undefined);
    }
  };
  return transfers.run(size, transfer, publicFactoryHost);
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
