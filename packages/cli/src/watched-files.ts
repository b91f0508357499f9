/**
 * Files that a running server follows. They are looked at now and then, since events of the kernel do not come from network
 * file systems and get lost where a whole folder is replaced, as Kubernetes does with mounted secrets.
 */
import { stat } from 'node:fs/promises';
import { fileIdentity } from '@omni-airgap/oci/fs';

const everyMs = 2000;

export class WatchedFiles {
  readonly #paths: readonly string[];
  #seen: string;
  #timer: NodeJS.Timeout | undefined;
  #isOver = false;

  private constructor(paths: readonly string[], seen: string) {
    this.#paths = paths;
    this.#seen = seen;
  }

  /** To be called before the files are read: what changes after that is not missed. */
  static async of(paths: readonly string[]): Promise<WatchedFiles> {
    return new WatchedFiles(paths, await identityOf(paths));
  }

  /**
   * Calls `changed` after one or more of the files have changed, never twice at a time. Pipes and devices can be read only
   * once, so they are not followed.
   * @param changed must not throw
   */
  follow(changed: () => Promise<void>): void {
    if (this.#isOver || this.#seen.includes('other')) return;
    this.#timer = setTimeout(() => void this.#look(changed), everyMs);
    this.#timer.unref();
  }

  end(): void {
    this.#isOver = true;
    clearTimeout(this.#timer);
  }

  async #look(changed: () => Promise<void>): Promise<void> {
    const now = await identityOf(this.#paths);
    if (now !== this.#seen && !this.#isOver) {
      this.#seen = now;
      await changed();
    }
    this.follow(changed);
  }
}

async function identityOf(paths: readonly string[]): Promise<string> {
  const parts = await Promise.all(
    paths.map(async (path) => {
      const info = await stat(path, { bigint: true }).catch(() => undefined);
      if (info === undefined) return 'missing';
      if (!info.isFile()) return 'other';
      return fileIdentity(info);
    }),
  );
  return parts.join(' ');
}
