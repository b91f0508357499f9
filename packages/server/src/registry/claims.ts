/**
 * What pushes under way rely on. Between a blob and the manifest that names it lie any number of requests, and a client
 * does not send again what it was told is here: a sweep leaves that alone until the grace period has passed without a
 * request of the push, or for as long as one of its uploads is open.
 */
import type { Activity } from '@omni-airgap/oci/layout';
import type { Digest } from '@omni-airgap/oci/model';
import type { WritableSource } from '../source.ts';

export class Claims implements Pick<Activity, 'isInUse' | 'removing'> {
  readonly #target: Pick<WritableSource, 'renew'>;
  readonly #graceMs: number;
  readonly #isSwept: boolean;
  /** When a push of a repository last relied on content, by the clock that nobody sets. */
  readonly #claims = new Map<Digest, Map<string, number>>();
  #named: { readonly repository: string; readonly digests: readonly Digest[]; readonly at: number }[] = [];
  readonly #removals = new Map<Digest, Promise<void>>();
  /** Repositories that had an open upload when the sweep began. */
  #uploading: ReadonlySet<string> = new Set();
  #count = 0;

  /** @param isSwept false: this server sweeps nothing, so only the content's age is kept, for the command */
  constructor(target: Pick<WritableSource, 'renew'>, graceMs: number, isSwept = true) {
    this.#target = target;
    this.#graceMs = graceMs;
    this.#isSwept = isSwept;
  }

  /** Grows with each claim, so that nothing is swept where nothing has changed. */
  get count(): number {
    return this.#count;
  }

  /**
   * A push to this repository relies on the content, if it is here: look for it afterwards. Also over a restart, since the
   * content's own age is reset.
   */
  async claim(repository: string, digests: Iterable<Digest>): Promise<void> {
    const all = [...digests];
    const now = performance.now();
    for (const digest of this.#isSwept ? all : []) {
      const claims = this.#claims.get(digest) ?? new Map<string, number>();
      this.#claims.set(digest, claims.set(repository, now));
    }
    this.#count++;
    for (const digest of all) {
      await this.#removals.get(digest);
      await this.#target.renew(digest, this.#graceMs / 4);
    }
  }

  /** The content is not here, or was deleted on purpose. */
  release(repository: string, digests: Iterable<Digest>): void {
    for (const digest of digests) this.#remove(digest, repository);
  }

  /** A manifest of this repository has a name, and leads to these blobs: each is in use until a sweep can know that. */
  named(repository: string, digests: readonly Digest[]): void {
    if (this.#isSwept) this.#named.push({ repository, digests, at: performance.now() });
  }

  /** A name of the content goes: from now on it stays for the grace period. */
  async letGo(digests: Iterable<Digest>): Promise<void> {
    this.#count++;
    for (const digest of digests) await this.#target.renew(digest);
  }

  isInUse(digest: Digest): boolean {
    const since = performance.now() - this.#graceMs;
    return [...(this.#claims.get(digest) ?? [])].some(
      ([repository, at]) => at > since || this.#uploading.has(repository),
    );
  }

  async removing(digest: Digest, remove: () => Promise<void>): Promise<void> {
    const removal = remove();
    this.#removals.set(
      digest,
      removal.catch(() => {}),
    );
    try {
      await removal;
    } finally {
      this.#removals.delete(digest);
    }
  }

  /**
   * Before a sweep reads the names: claims of repositories with an open upload begin anew; those that have passed, and
   * those of content that names lead to, are forgotten.
   */
  refresh(uploading: ReadonlySet<string>): void {
    for (const { repository, digests, at } of this.#named) {
      for (const digest of digests) {
        // Another push may rely on it since.
        if ((this.#claims.get(digest)?.get(repository) ?? at) <= at) this.#remove(digest, repository);
      }
    }
    this.#named = [];
    this.#uploading = uploading;
    const now = performance.now();
    for (const [digest, claims] of this.#claims) {
      for (const [repository, at] of claims) {
        if (uploading.has(repository)) claims.set(repository, now);
        else if (at <= now - this.#graceMs) this.#remove(digest, repository);
      }
    }
  }

  #remove(digest: Digest, repository: string): void {
    const claims = this.#claims.get(digest);
    if (claims?.delete(repository) === true && claims.size === 0) this.#claims.delete(digest);
  }
}
