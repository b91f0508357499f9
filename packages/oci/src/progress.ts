/** What a long operation tells whoever watches it. The library counts; how it looks is the caller's. */
import type { CodedError } from './base/errors.ts';
import type { CopyEvent } from './copy.ts';
import { isManifestType } from './model/media-type.ts';

/** Who shows what a long operation does. All counts are bytes. */
export interface Progress {
  /** So many bytes more (or, negative, fewer) have to be moved than was known. */
  expect(bytes: number): void;
  /** So many bytes have been moved. */
  advance(bytes: number): void;
  /** One line worth reading: an item is done, something is tried again, a build is waited for. */
  note(text: string): void;
  /** What one thing is doing, for those who show them side by side; undefined when it is over. */
  item?(name: string, state: ItemState | undefined): void;
  /** So many more things are part of the whole. */
  expectItems?(count: number): void;
  /** So many of them are over. */
  itemsOver?(count: number): void;
  /** Of so many more things (or fewer) it is not known yet how many bytes they have: until all are, no total is true. */
  unsized?(count: number): void;
  /** Something failed in a way that may pass, and is tried again after so many milliseconds. */
  retry?(error: CodedError, waitMs: number): void;
}

/** Tells of a retry, to one who counts them or as a line. */
export function noteRetry(progress: Progress, error: CodedError, waitMs: number): void {
  if (progress.retry !== undefined) progress.retry(error, waitMs);
  else progress.note(`trying again: ${error.message}`);
}

/** What is happening to one item. */
export interface ItemState {
  /** Such as `building at the factory`, `fetching`. */
  readonly doing: string;
  /** Bytes, when it has some. */
  readonly done?: number;
  readonly size?: number;
}

/** For operations that nobody watches. */
export const noProgress: Progress = { expect: () => {}, advance: () => {}, note: () => {} };

/** Counts of what a copy did. */
export interface CopyTally {
  storedBlobs: number;
  storedBytes: number;
  presentBlobs: number;
  presentBytes: number;
  mountedBlobs: number;
}

/** A listener for Copier events that reports progress and keeps count. */
export function tallying(progress: Progress): { readonly tally: CopyTally; onEvent(event: CopyEvent): void } {
  const tally = { storedBlobs: 0, storedBytes: 0, presentBlobs: 0, presentBytes: 0, mountedBlobs: 0 };
  return {
    tally,
    onEvent(event) {
      const { size } = event.descriptor;
      if (event.kind === 'found') {
        progress.expect(size);
        if (isManifestType(event.descriptor.mediaType)) progress.unsized?.(1);
      } else if (event.kind === 'bytes') progress.advance(event.bytes);
      else if (event.kind === 'read') progress.unsized?.(-1);
      else if (event.kind === 'retry') noteRetry(progress, event.error, 0);
      else if (event.result === 'stored') {
        tally.storedBlobs++;
        tally.storedBytes += size;
      } else {
        progress.expect(-size);
        if (event.result === 'mounted') tally.mountedBlobs++;
        else {
          tally.presentBlobs++;
          tally.presentBytes += size;
        }
      }
    },
  };
}
