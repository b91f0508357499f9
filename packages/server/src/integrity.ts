/**
 * Which content has been seen whole and right, and which was found damaged. What has been verified is bound to the
 * files it lay in at that time (device, inode, size, time), so a medium that was changed for another is hashed again
 * while it is sent. What is damaged is refused for a while, and then tried again: a bad contact is no bad medium.
 */
import { stat } from 'node:fs/promises';
import type { Piece } from '@omni-airgap/oci';
import { CodedError, isCoded, messageOf } from '@omni-airgap/oci/base';
import { diskError } from '@omni-airgap/oci/fs';
import { collectVerified, type Descriptor, type Digest } from '@omni-airgap/oci/model';
import type { Condition, Damage, FileCounts } from './health.ts';
import { hashPieces } from './http/blocks.ts';
import type { FileBody } from './http/message.ts';
import type { ContentSource } from './source.ts';

type Sized = Pick<Descriptor, 'digest' | 'size'>;

const retryAfterMs = 30_000;
const maxRemembered = 1000;

interface Found extends Damage {
  readonly size: number;
  /** Its file could not be read at all: when it can, that is over. */
  readonly isGone: boolean;
  readonly identity: string | undefined;
  readonly until: number;
}

/** Names the files as they are now. @throws DISK when one is gone */
async function identityOf(pieces: readonly Piece[]): Promise<string> {
  const parts = await Promise.all(
    pieces.map(async ({ path, offset, size }) => {
      try {
        const info = await stat(path, { bigint: true });
        return `${info.dev}:${info.ino}:${info.size}:${info.mtimeNs}:${offset}:${size}`;
      } catch (cause) {
        throw diskError(cause, path);
      }
    }),
  );
  return parts.join(' ');
}

export class Integrity implements Condition {
  readonly #source: ContentSource;
  readonly #probe: () => Descriptor | undefined;
  readonly #verified = new Map<Digest, string>();
  readonly #damage = new Map<Digest, Found>();
  readonly #reads = { cached: 0, hashed: 0, awaited: 0, unverified: 0 };
  readonly #verifications = { passed: 0, failed: 0 };
  #background: Promise<void> = Promise.resolve();
  /** What the background is reading, or will; resolved as soon as anybody has seen it right or wrong. */
  readonly #verifying = new Map<Digest, PromiseWithResolvers<void>>();
  /** What an answer under way is hashing. */
  readonly #hashing = new Set<Digest>();

  /** @param probe gives a small content that is there as long as the medium or store is */
  constructor(source: ContentSource, probe: () => Descriptor | undefined) {
    this.#source = source;
    this.#probe = probe;
  }

  /** @throws DISK */
  async requireMedium(signal?: AbortSignal): Promise<void> {
    const probe = this.#probe();
    if (probe === undefined) return;
    try {
      await collectVerified(this.#source.fetch(probe, signal), probe, probe.size, 'medium');
    } catch (cause) {
      if (!isCoded(cause)) throw cause;
      throw new CodedError('DISK', `the medium or store cannot be read: ${cause.message}`, { cause });
    }
  }

  /** The content as an answer's body; undefined when it is not there. @throws DISK */
  async body(descriptor: Sized): Promise<FileBody | undefined> {
    const { digest, size } = descriptor;
    const pieces = await this.#source.locate(descriptor);
    if (pieces === undefined) {
      await this.requireMedium();
      return undefined;
    }
    let identity: string | undefined;
    let isHashing = false;
    return {
      size,
      pieces,
      digest,
      begin: async (range) => {
        identity = await identityOf(pieces);
        if (this.#isVerified(digest, identity)) {
          this.#reads.cached++;
          return 'none';
        }
        const known = this.#damage.get(digest);
        if (known !== undefined && known.identity === identity && known.until > Date.now()) {
          throw new CodedError('MISSING_CONTENT', `${digest}: ${known.problem}`);
        }
        const others = range !== 'whole' || this.#hashing.has(digest);
        if (range === 'whole' && others && this.#verifyLater(descriptor, pieces)) {
          this.#reads.awaited++;
          return 'verdict';
        }
        if (range !== 'whole') {
          this.#verifyLater(descriptor, pieces);
          this.#reads.unverified++;
          return 'none';
        }
        this.#reads.hashed++;
        isHashing = true;
        this.#hashing.add(digest);
        return 'hash';
      },
      hashed: (found) => {
        if (found !== digest) throw wrongBytes(digest, found);
        this.#pass(digest, identity);
      },
      verdict: async () => {
        await this.#verifying.get(digest)?.promise;
        if (this.#isVerified(digest, identity)) return;
        const problem = this.#damage.get(digest)?.problem ?? 'the medium was changed while it was sent';
        throw new CodedError('MISSING_CONTENT', `${digest}: ${problem}`);
      },
      failed: (error) => this.#fail(descriptor, identity, error),
      end: () => {
        if (isHashing) this.#hashing.delete(digest);
      },
    };
  }

  /** Small content, verified. @param max bytes @throws DIGEST_MISMATCH, MISSING_CONTENT, DISK, BAD_DOCUMENT */
  async read(descriptor: Descriptor, max: number, what: string, signal?: AbortSignal): Promise<Uint8Array> {
    const { digest } = descriptor;
    try {
      const bytes = await collectVerified(this.#source.fetch(descriptor, signal), descriptor, max, what);
      this.#pass(digest, undefined);
      return bytes;
    } catch (error) {
      const problem = isCoded(error, 'MISSING_CONTENT') ? await this.#orMedium(error, signal) : error;
      if (isCoded(problem, 'DIGEST_MISMATCH', 'MISSING_CONTENT', 'DISK')) {
        this.#fail(descriptor, undefined, problem);
      }
      throw problem;
    }
  }

  /** What was gone and is there again is forgotten, and hashed at its next use. */
  async recheck(): Promise<void> {
    for (const found of this.#damage.values()) {
      if (!found.isGone) continue;
      try {
        const pieces = await this.#source.locate(found);
        if (pieces === undefined) continue;
        await identityOf(pieces);
        this.#damage.delete(found.digest);
      } catch (error) {
        if (!isCoded(error)) throw error;
      }
    }
  }

  /** The content is not in the source any more, on purpose. */
  forget(digest: Digest): void {
    this.#verified.delete(digest);
    this.#damage.delete(digest);
  }

  get verifications(): Readonly<Record<'passed' | 'failed', number>> {
    return this.#verifications;
  }

  get files(): FileCounts {
    return { reads: this.#reads, verified: this.#verified.size };
  }

  damage(): readonly Damage[] {
    return [...this.#damage.values()].map(({ digest, since, problem }) => ({ digest, since, problem }));
  }

  /** The error, or that of a medium that is gone altogether. */
  async #orMedium(error: unknown, signal: AbortSignal | undefined): Promise<unknown> {
    return this.requireMedium(signal).then(
      () => error,
      (reason: unknown) => reason,
    );
  }

  #pass(digest: Digest, identity: string | undefined): void {
    this.#damage.delete(digest);
    if (identity === undefined) return;
    this.#verifications.passed++;
    this.#verified.set(digest, identity);
    this.#settle(digest);
  }

  #settle(digest: Digest): void {
    this.#verifying.get(digest)?.resolve();
    this.#verifying.delete(digest);
  }

  #fail({ digest, size }: Sized, identity: string | undefined, error: unknown): void {
    const known = this.#damage.get(digest);
    // Told again of what is known: the time after which it is tried again must not move on with every request.
    if (known !== undefined && known.identity === identity && known.until > Date.now()) return;
    this.#verifications.failed++;
    this.#verified.delete(digest);
    const since = known?.since ?? new Date().toISOString();
    if (this.#damage.size >= maxRemembered && !this.#damage.has(digest)) return;
    const until = Date.now() + retryAfterMs;
    const isGone = isCoded(error, 'DISK');
    this.#damage.set(digest, { digest, size, since, problem: messageOf(error), isGone, identity, until });
    this.#settle(digest);
  }

  #isVerified(digest: Digest, identity: string | undefined): boolean {
    return identity !== undefined && this.#verified.get(digest) === identity;
  }

  /**
   * Parts of an answer cannot be checked by themselves, and many answers need not hash the same: all of it is read once, one
   * content at a time. @returns false when too many wait already
   */
  #verifyLater(descriptor: Sized, pieces: readonly Piece[]): boolean {
    const { digest } = descriptor;
    if (this.#verifying.has(digest)) return true;
    if (this.#verifying.size >= maxRemembered) return false;
    this.#verifying.set(digest, Promise.withResolvers());
    this.#background = this.#background.then(() => this.#verify(descriptor, pieces));
    return true;
  }

  async #verify(descriptor: Sized, pieces: readonly Piece[]): Promise<void> {
    const { digest, size } = descriptor;
    let identity: string | undefined;
    if (!this.#verifying.has(digest)) return;
    try {
      identity = await identityOf(pieces);
      const found = await hashPieces(pieces, size);
      if (found !== digest) throw wrongBytes(digest, found);
      this.#pass(digest, identity);
    } catch (error) {
      this.#fail(descriptor, identity, error);
    }
    this.#settle(digest);
  }
}

function wrongBytes(digest: Digest, found: Digest): CodedError {
  return new CodedError('DIGEST_MISMATCH', `${digest}: the bytes on disk have ${found}`);
}
