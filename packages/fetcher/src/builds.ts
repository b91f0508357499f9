/** What the Image Factory makes when it is asked for it: few at once, and shown while it is waited for. */

import type { Progress } from '@omni-airgap/oci';
import type { Patience } from '@omni-airgap/oci/http';
import { publicFactoryHost } from '@omni-airgap/talos';
import pLimit from 'p-limit';

/** A first build of a disk image has been seen to take minutes; its answer does not begin before that. */
export const factoryPatience: Patience = { hosts: [publicFactoryHost], headersTimeoutMs: 15 * 60_000 };
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
