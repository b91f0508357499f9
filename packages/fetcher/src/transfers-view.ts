/** Large blobs as they come, each by the image it was asked for: what progress shows side by side. */
import type { CopyEvent, Descriptor, Digest, Progress } from '@omni-airgap/oci';

/** Bytes of a blob that is worth a line of its own. */
const shownFrom = 1024 * 1024;

interface Transfer {
  readonly name: string;
  done: number;
}

export class TransfersView {
  readonly #progress: Progress;
  readonly #transfers = new Map<Digest, Transfer>();

  constructor(progress: Progress) {
    this.#progress = progress;
  }

  /** A blob is asked for. @param offset bytes that are here */
  began({ digest, size }: Descriptor, reference: string, offset: number): void {
    if (size < shownFrom || this.#progress.item === undefined) return;
    this.#transfers.set(digest, { name: `${reference} ${digest.slice(7, 19)}`, done: offset });
  }

  onEvent(event: CopyEvent): void {
    const { digest, size } = event.descriptor;
    const transfer = this.#transfers.get(digest);
    if (transfer === undefined) return;
    if (event.kind === 'bytes') {
      transfer.done += event.bytes;
      this.#progress.item?.(transfer.name, { doing: 'fetching', done: transfer.done, size });
    } else if (event.kind === 'done') this.#ended(digest, transfer);
  }

  /** Nothing more comes for an image. */
  ended(reference: string): void {
    for (const [digest, transfer] of this.#transfers)
      if (transfer.name.startsWith(`${reference} `)) this.#ended(digest, transfer);
  }

  #ended(digest: Digest, { name }: Transfer): void {
    this.#transfers.delete(digest);
    this.#progress.item?.(name, undefined);
  }
}
