/**
 * What every store must do, as tests that each of them runs: `readableStorageSuite` for whatever can be read,
 * `writableStorageSuite` for whatever can be filled. Names are such that they are tags, too.
 */
import { describe, expect, onTestFinished, test } from 'vitest';
import { CodedError, ExitCode, exitCodeOf } from '../base/errors.ts';
import { readPieces } from '../fs/pieces.ts';
import { bytesOf, collect, openerOf } from '../model/bytes.ts';
import { type Descriptor, descriptorOf, plain } from '../model/descriptor.ts';
import { digestOf } from '../model/digest.ts';
import { MediaType } from '../model/media-type.ts';
import {
  type Fetcher,
  isLocated,
  type NameLister,
  type OpenBytes,
  type Pusher,
  type RangeFetcher,
  type ReadOnlyStorage,
  type Resolver,
  type Tagger,
  type Target,
} from '../storage.ts';
import { type GeneratedBlob, generatedBlob, generatedBytes } from './generated-blob.ts';
import { buildManifest } from './graph.ts';

export type ReadableStore = ReadOnlyStorage & RangeFetcher & Resolver;

/** A store under test and how to be rid of it. */
export interface Opened<Store> {
  readonly store: Store;
  close?(): Promise<void>;
}

/** What a store may do without: a registry does not lie in files and has tags, not names. */
export type Ability = 'files' | 'names';

/** Puts what the suite is going to read into any target. */
export type Fill = (target: Pusher & Tagger) => Promise<void>;

const maxBytes = 16 * 1024 * 1024;
const absent: Descriptor = descriptorOf(MediaType.octetStream, Buffer.from('nobody has this'));
const emptyBlob: GeneratedBlob = {
  descriptor: descriptorOf(MediaType.octetStream, new Uint8Array(0)),
  open: () => bytesOf(),
};

/** A manifest in three parts: config, layer, and the document itself. */
async function smallImage(seed: number): Promise<readonly GeneratedBlob[]> {
  const config = await generatedBlob(seed, 100, MediaType.ociConfig);
  const layer = await generatedBlob(seed + 1, 3000, 'application/vnd.oci.image.layer.v1.tar');
  const { descriptor, bytes } = buildManifest(MediaType.ociManifest, {
    config: config.descriptor,
    layers: [layer.descriptor],
  });
  return [config, layer, { descriptor, open: openerOf(bytes) }];
}

function read(store: Fetcher, descriptor: Descriptor): Promise<Uint8Array> {
  return collect(store.fetch(descriptor), maxBytes, descriptor.digest);
}

const isNameLister = (store: object): store is NameLister => 'names' in store;

const notThere = expect.objectContaining({ code: expect.stringMatching(/^(MISSING_CONTENT|NOT_FOUND)$/) });

/**
 * @param make opens a store that holds what `fill` puts into a target
 * @param without abilities this store does not have
 */
export function readableStorageSuite(
  name: string,
  make: (fill: Fill) => Promise<Opened<ReadableStore>>,
  without: readonly Ability[] = [],
): void {
  describe(`${name} as readable storage`, async () => {
    const image = await smallImage(11);
    const root = (image[2] as GeneratedBlob).descriptor;
    const large = await generatedBlob(5, 3_000_001);
    const contents = [emptyBlob, await generatedBlob(3, 1), await generatedBlob(4, 70_000), large, ...image];
    // A name is a whole reference, as in a bundle; a repository has tags.
    const named = (tag: string): string => (without.includes('names') ? tag : `ghcr.io/acme/app:${tag}`);
    const fill: Fill = async (target) => {
      for (const { descriptor, open } of contents) await target.push(descriptor, open);
      for (const tag of ['v2', 'latest', 'v10']) await target.tag(root, named(tag));
    };
    const open = async (): Promise<ReadableStore> => {
      const opened = await make(fill);
      onTestFinished(() => opened.close?.());
      return opened.store;
    };

    test('fetch gives the exact bytes, several at once', async () => {
      const store = await open();
      const all = await Promise.all(contents.map(({ descriptor }) => read(store, descriptor)));
      for (const [i, { descriptor }] of contents.entries()) {
        const bytes = all[i] ?? new Uint8Array(1);
        expect([bytes.byteLength, digestOf(bytes)]).toEqual([descriptor.size, descriptor.digest]);
      }
    });

    test('a chunk belongs to its consumer', async () => {
      const store = await open();
      const chunks: { readonly chunk: Uint8Array; readonly digest: string }[] = [];
      for await (const chunk of store.fetch(large.descriptor))
        chunks.push({ chunk, digest: digestOf(chunk) });
      for (const { chunk, digest } of chunks) expect(digestOf(chunk)).toBe(digest);
    });

    test('a reader that stops early leaves the store usable', async () => {
      const store = await open();
      for await (const chunk of store.fetch(large.descriptor)) {
        expect(chunk.byteLength).toBeGreaterThan(0);
        break;
      }
      expect(digestOf(await read(store, large.descriptor))).toBe(large.descriptor.digest);
    });

    test('a range begins at its offset', async () => {
      const store = await open();
      const { descriptor } = large;
      const whole = Buffer.from(await collect(large.open(), maxBytes, 'large'));
      for (const offset of [0, 1, 511, 262_144, 2_999_999, 3_000_000, 3_000_001]) {
        const rest = await collect(store.fetchFrom(descriptor, offset), maxBytes, 'rest');
        expect(whole.subarray(offset).equals(rest), `from ${offset}`).toBe(true);
      }
    });

    if (!without.includes('files'))
      test('the files it points at hold the bytes', async () => {
        const store = await open();
        if (!isLocated(store)) return expect.unreachable('it does not lie in files');
        for (const { descriptor } of contents) {
          const pieces = await store.locate(descriptor);
          const bytes = await collect(readPieces(pieces ?? []), maxBytes, descriptor.digest);
          expect(digestOf(bytes)).toBe(descriptor.digest);
        }
        expect(await store.locate(absent)).toBeUndefined();
      });

    test('has answers for digest and size', async () => {
      const store = await open();
      for (const { descriptor } of contents) {
        expect(await store.has(descriptor)).toBe(true);
        expect(await store.has({ ...descriptor, size: descriptor.size + 1 })).toBe(false);
      }
      expect(await store.has(absent)).toBe(false);
    });

    test('absent content is an error, not an empty stream', async () => {
      const store = await open();
      await expect(read(store, absent)).rejects.toEqual(notThere);
    });

    test('an aborted fetch ends', async () => {
      const store = await open();
      const controller = new AbortController();
      let bytes = 0;
      const reading = async (): Promise<void> => {
        for await (const chunk of store.fetch(large.descriptor, controller.signal)) {
          bytes += chunk.byteLength;
          controller.abort();
        }
      };
      const error = await reading().catch((e: unknown) => e);
      // A store may hand out all there is in one chunk.
      if (bytes < large.descriptor.size) expect(exitCodeOf(error)).toBe(ExitCode.interrupted);
      const late = await reading().catch((e: unknown) => e);
      expect(exitCodeOf(late)).toBe(ExitCode.interrupted);
    });

    test('names resolve to what they stand for', async () => {
      const store = await open();
      expect(plain((await store.resolve(named('v10'))) ?? absent)).toEqual(root);
      expect(await store.resolve(named('v11'))).toBeUndefined();
    });

    if (!without.includes('names'))
      test('names are listed in byte order', async () => {
        const store = await open();
        if (!isNameLister(store)) return expect.unreachable('it does not list names');
        const names: string[] = [];
        for await (const [listed, descriptor] of store.names()) {
          names.push(listed);
          expect(plain(descriptor)).toEqual(root);
        }
        expect(names).toEqual(['latest', 'v10', 'v2'].map(named));
      });
  });
}

/**
 * @param make opens an empty store, a new one for each call
 * @param without abilities this store does not have
 */
export function writableStorageSuite(
  name: string,
  make: () => Promise<Opened<Target>>,
  without: readonly Ability[] = [],
): void {
  describe(`${name} as writable storage`, async () => {
    const blob = await generatedBlob(21, 2_500_000);
    const image = await smallImage(31);
    const otherImage = await smallImage(41);
    const open = async (): Promise<Target> => {
      const opened = await make();
      onTestFinished(() => opened.close?.());
      return opened.store;
    };
    const pushImage = async (store: Pusher, parts: readonly GeneratedBlob[]): Promise<Descriptor> => {
      let last = absent;
      for (const part of parts) {
        await store.push(part.descriptor, part.open);
        last = part.descriptor;
      }
      return last;
    };
    const expectAbsent = async (store: Target, descriptor: Descriptor): Promise<void> => {
      expect(await store.has(descriptor)).toBe(false);
      await expect(read(store, descriptor)).rejects.toEqual(notThere);
    };

    test('push stores; a second one finds it present and reads nothing', async () => {
      const store = await open();
      expect(await store.push(blob.descriptor, blob.open)).toBe('stored');
      expect(await store.has(blob.descriptor)).toBe(true);
      expect(digestOf(await read(store, blob.descriptor))).toBe(blob.descriptor.digest);
      const unread: OpenBytes = () => {
        throw new Error('must not be opened');
      };
      expect(await store.push(blob.descriptor, unread)).toBe('present');
    });

    test('an empty blob is content', async () => {
      const store = await open();
      expect(await store.push(emptyBlob.descriptor, emptyBlob.open)).toBe('stored');
      expect(await store.has(emptyBlob.descriptor)).toBe(true);
      expect(await read(store, emptyBlob.descriptor)).toHaveLength(0);
    });

    const { size } = blob.descriptor;
    test.each([
      ['T13 wrong', generatedBytes(22, size)],
      ['T14 short', generatedBytes(21, size - 1)],
      ['long', generatedBytes(21, size + 1)],
      ['no', () => bytesOf()],
    ] as const)('%s bytes are refused and nothing is visible', async (_kind, wrong) => {
      const store = await open();
      await expect(store.push(blob.descriptor, wrong)).rejects.toMatchObject({ code: 'DIGEST_MISMATCH' });
      await expectAbsent(store, blob.descriptor);
      expect(await store.push(blob.descriptor, blob.open)).toBe('stored');
      expect(digestOf(await read(store, blob.descriptor))).toBe(blob.descriptor.digest);
    });

    test('a stream that breaks off can be pushed again', async () => {
      const store = await open();
      let breaks = 1;
      const flaky: OpenBytes = async function* (offset = 0) {
        let at = offset;
        for await (const chunk of blob.open(offset)) {
          at += chunk.byteLength;
          yield chunk;
          if (breaks > 0 && at > size / 2) {
            breaks--;
            throw new CodedError('NETWORK', 'the line broke');
          }
        }
      };
      const first = await store.push(blob.descriptor, flaky).catch((error: unknown) => error);
      // A store may go on by itself; one that gives up must say why and show nothing.
      if (first !== 'stored') {
        expect(first).toMatchObject({ code: 'NETWORK' });
        await expectAbsent(store, blob.descriptor);
        expect(await store.push(blob.descriptor, flaky)).toBe('stored');
      }
      expect(digestOf(await read(store, blob.descriptor))).toBe(blob.descriptor.digest);
    });

    test('the same content may be pushed several times at once', async () => {
      const store = await open();
      const results = await Promise.all(
        Array.from({ length: 5 }, () => store.push(blob.descriptor, blob.open)),
      );
      expect(results).toContain('stored');
      expect(digestOf(await read(store, blob.descriptor))).toBe(blob.descriptor.digest);
    });

    test('an aborted push ends and nothing is visible', async () => {
      const store = await open();
      const early = await store
        .push(blob.descriptor, blob.open, AbortSignal.abort())
        .catch((e: unknown) => e);
      expect(exitCodeOf(early)).toBe(ExitCode.interrupted);
      const controller = new AbortController();
      const aborting: OpenBytes = async function* (offset = 0) {
        for await (const chunk of blob.open(offset)) {
          yield chunk;
          controller.abort();
        }
      };
      const late = await store.push(blob.descriptor, aborting, controller.signal).catch((e: unknown) => e);
      expect(exitCodeOf(late)).toBe(ExitCode.interrupted);
      await expectAbsent(store, blob.descriptor);
    });

    test('a name stands for what it was last given to', async () => {
      const store = await open();
      expect(await store.resolve('v1')).toBeUndefined();
      const first = await pushImage(store, image);
      const second = await pushImage(store, otherImage);
      await store.tag(first, 'v1');
      await store.tag(first, 'v1');
      expect(plain((await store.resolve('v1')) ?? absent)).toEqual(first);
      await store.tag(second, 'v1');
      expect(plain((await store.resolve('v1')) ?? absent)).toEqual(second);
      expect(await store.has(first)).toBe(true);
    });

    test('absent content cannot be named', async () => {
      const store = await open();
      const manifest = (image[2] as GeneratedBlob).descriptor;
      await expect(store.tag(manifest, 'v1')).rejects.toEqual(notThere);
      expect(await store.resolve('v1')).toBeUndefined();
    });

    if (!without.includes('names'))
      test('names given at once are all there, in order', async () => {
        const store = await open();
        if (!isNameLister(store)) return expect.unreachable('it does not list names');
        const root = await pushImage(store, image);
        const given = ['v9', 'v10', 'V1', 'a_b', 'a-b', 'a.b'];
        await Promise.all(given.map((tag) => store.tag(root, tag)));
        const names: string[] = [];
        for await (const [listed] of store.names()) names.push(listed);
        expect(names).toEqual(['V1', 'a-b', 'a.b', 'a_b', 'v10', 'v9']);
      });
  });
}
