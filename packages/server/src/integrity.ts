/**
 * Which content has been seen whole and right, and which was found damaged. What has been verified is bound to the
 * files it lay in at that time (device, inode, size, time), so a medium that was changed for another is hashed again
 * while it is sent. What is damaged is refused for a while, and then tried again: a bad contact is no bad medium.
 */
import { stat } from 'node:fs/promises';
import {
  CodedError,
  collectVerified,
  type Descriptor,
  type Digest,
  diskError,
  eachBlock,
  Hasher,
  isCoded,
  messageOf,
  type Piece,
} from '@omni-airgap/content';
import type { FileBody } from './http/message.ts';
import type { ContentSource } from './source.ts';

/** Content that could not be given. */
export interface Damage {
  readonly digest: Digest;
  /** ISO 8601. */
  readonly since: string;
  /** For the log: may name files of this machine. */
  readonly problem: string;
}

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

export class Integrity {
  readonly #source: ContentSource;
  readonly #probe: Descriptor | undefined;
  readonly #verified = new Map<Digest, string>();
  readonly #damage = new Map<Digest, Found>();
  #background: Promise<void> = Promise.resolve();
  readonly #waiting = new Set<Digest>();

  /** @param probe a small content that is there as long as the medium or store is */
  constructor(source: ContentSource, probe: Descriptor | undefined) {
    this.#source = source;
    this.#probe = probe;
  }

  /** @throws DISK when the medium or store cannot be read at all */
  async requireMedium(signal?: AbortSignal): Promise<void> {
    const probe = this.#probe;
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
    return {
      size,
      pieces,
      digest,
      begin: async (range) => {
        identity = await identityOf(pieces);
        if (this.#verified.get(digest) === identity) return 'verified';
        const known = this.#damage.get(digest);
        if (known !== undefined && known.identity === identity && known.until > Date.now()) {
          throw new CodedError('MISSING_CONTENT', `${digest}: ${known.problem}`);
        }
        if (range !== 'whole') this.#verifyLater(descriptor, pieces);
        return 'unknown';
      },
      passed: () => this.#pass(digest, identity),
      failed: (error) => this.#fail(descriptor, identity, error),
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

  /** Forgets what was gone and is there again; it is hashed at its next use. */
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

  /** What was found damaged or gone and has not been seen right since. */
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
    if (identity !== undefined) this.#verified.set(digest, identity);
  }

  #fail({ digest, size }: Sized, identity: string | undefined, error: unknown): void {
    this.#verified.delete(digest);
    const since = this.#damage.get(digest)?.since ?? new Date().toISOString();
    if (this.#damage.size >= maxRemembered && !this.#damage.has(digest)) return;
    const until = Date.now() + retryAfterMs;
    const isGone = isCoded(error, 'DISK');
    this.#damage.set(digest, { digest, size, since, problem: messageOf(error), isGone, identity, until });
  }

  /** Parts of an answer cannot be checked by themselves: all of it is read, one content at a time. */
  #verifyLater(descriptor: Sized, pieces: readonly Piece[]): void {
    const { digest } = descriptor;
    if (this.#waiting.has(digest) || this.#waiting.size >= maxRemembered) return;
    this.#waiting.add(digest);
    this.#background = this.#background.then(() => this.#verify(descriptor, pieces));
  }

  async #verify(descriptor: Sized, pieces: readonly Piece[]): Promise<void> {
    const { digest } = descriptor;
    let identity: string | undefined;
    try {
      identity = await identityOf(pieces);
      if (this.#verified.get(digest) === identity) return;
      const hasher = new Hasher();
      await eachBlock(pieces, (block) => hasher.update(block));
      const found = hasher.finish();
      if (found === digest) this.#pass(digest, identity);
      else {
        throw new CodedError('DIGEST_MISMATCH', `${digest}: the bytes on disk have ${found}`);
      }
    } catch (error) {
      this.#fail(descriptor, identity, error);
    } finally {
      this.#waiting.delete(digest);
    }
  }
}
