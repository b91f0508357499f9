/**
 * Checks volumes as their bytes pass by: each blob must have its digest, every other byte must be the one that
 * bundle.json implies. Together they prove a volume, with one hash for each byte.
 */
import { createHash } from 'node:crypto';
import { CodedError } from '@omni-airgap/oci/base';
import { type Digest, Hasher } from '@omni-airgap/oci/model';
import { type VolumeMap, volumeName } from './volume-map.ts';

export interface Damage {
  /** File name of the volume. */
  readonly volume: string;
  /** Byte in the volume where the damaged part begins. */
  readonly offset: number;
  readonly what: string;
  /** Of the blob that is damaged, where it is one. */
  readonly digest?: Digest | undefined;
}

/** The most damages that are listed one by one. */
const maxDamages = 1000;

/** Hands every byte of a volume to the callback, in order. */
export type VolumeReader = (use: (block: Buffer) => void) => Promise<void>;

export class VolumeVerifier {
  readonly damages: Damage[] = [];
  /** Blobs whose bytes are wrong, or could not be seen. */
  readonly bad = new Set<Digest>();
  readonly #map: VolumeMap;
  readonly #volumes: ReadonlySet<number>;
  readonly #sha256Of: (volume: number) => string | undefined;
  /** Of blobs that go on in the next volume. */
  readonly #hashers = new Map<Digest, Hasher>();
  #blobs = 0;
  #bytes = 0;

  /**
   * @param volumes those that will be checked, in rising order
   * @param sha256Of hex hash of a volume: checked instead of digests where a blob is cut and not all of it is seen
   */
  constructor(
    map: VolumeMap,
    volumes: ReadonlySet<number>,
    sha256Of: (volume: number) => string | undefined,
  ) {
    this.#map = map;
    this.#volumes = volumes;
    this.#sha256Of = sha256Of;
    for (const blob of map.blobs) {
      const isSeen = volumes.has(blob.volume) && map.runsOf(blob).every((run) => volumes.has(run.volume));
      if (!isSeen) this.bad.add(blob.digest);
    }
  }

  /** Blobs that were read and hashed. */
  get blobs(): number {
    return this.#blobs;
  }

  /** Bytes read. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Adds to what is wrong; for what the reader of a volume finds. */
  damage(volume: number, offset: number, what: string, digest?: Digest): void {
    if (this.damages.length >= maxDamages) return;
    const of = { digest };
    this.damages.push({ volume: volumeName(volume), offset, what, ...of });
  }

  /** Reads one volume and compares. @throws what the reader throws */
  async verify(volume: number, read: VolumeReader): Promise<void> {
    if (this.#hasUnseenPart(volume)) await this.#verifyWhole(volume, read);
    else await this.#verifyParts(volume, read);
  }

  /** True when a blob begins before, or goes on after, what is looked at. */
  #hasUnseenPart(volume: number): boolean {
    return this.#map
      .cutBlobsOf(volume)
      .some((blob) => this.#map.runsOf(blob).some((run) => !this.#volumes.has(run.volume)));
  }

  async #verifyWhole(volume: number, read: VolumeReader): Promise<void> {
    const hash = createHash('sha256');
    await read((block) => {
      hash.update(block);
      this.#bytes += block.byteLength;
    });
    if (hash.digest('hex') === this.#sha256Of(volume)) return;
    this.damage(
      volume,
      0,
      'this volume, somewhere (not all parts of its blob are here, so it is known as a whole only)',
    );
    for (const part of this.#map.parts(volume)) if (part.kind === 'blob') this.bad.add(part.blob.digest);
  }

  async #verifyParts(volume: number, read: VolumeReader): Promise<void> {
    const parts = this.#map.parts(volume)[Symbol.iterator]();
    let next = parts.next();
    let partStart = 0;
    let inPart = 0;
    let wrong = false;

    /** Takes what belongs to the current part off a block; answers how much that was. */
    const take = (block: Buffer): number => {
      if (next.done === true) throw new CodedError('INTERNAL', 'the volume map ends before the volume');
      const part = next.value;
      const partSize = part.kind === 'fixed' ? part.bytes.byteLength : part.size;
      const n = Math.min(block.byteLength, partSize - inPart);
      if (part.kind === 'fixed') wrong ||= block.compare(part.bytes, inPart, inPart + n, 0, n) !== 0;
      else this.#hasherOf(part.blob.digest).update(block.subarray(0, n));
      inPart += n;
      if (inPart < partSize) return n;
      if (part.kind === 'fixed') {
        if (wrong) this.damage(volume, partStart, part.of);
      } else if (part.from + part.size === part.blob.size) {
        const { digest } = part.blob;
        this.#blobs++;
        if (this.#hasherOf(digest).finish() !== digest) {
          this.bad.add(digest);
          // Its one digest cannot tell which of its volumes is damaged.
          const where = `, here or in an earlier volume from ${volumeName(part.blob.volume)} on`;
          this.damage(volume, partStart, `blob ${digest}${part.from === 0 ? '' : where}`, digest);
        }
        this.#hashers.delete(digest);
      }
      partStart += partSize;
      inPart = 0;
      wrong = false;
      next = parts.next();
      return n;
    };

    await read((block) => {
      for (let at = 0; at < block.byteLength; ) at += take(block.subarray(at));
      this.#bytes += block.byteLength;
    });
    // A blob without bytes at the very end has its digest checked too.
    while (next.done !== true) take(Buffer.alloc(0));
  }

  #hasherOf(digest: Digest): Hasher {
    const hasher = this.#hashers.get(digest) ?? new Hasher();
    this.#hashers.set(digest, hasher);
    return hasher;
  }
}
