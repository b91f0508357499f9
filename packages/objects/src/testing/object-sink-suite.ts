/** What every place for objects must do, as tests that each of them runs. */
import { truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Bytes, Piece } from '@omni-airgap/oci';
import { ExitCode, exitCodeOf } from '@omni-airgap/oci/base';
import type { Descriptor } from '@omni-airgap/oci/model';
import { collect, type Digest, digestOf } from '@omni-airgap/oci/model';
import { generatedBlob } from '@omni-airgap/oci/testing';
import { describe, expect, onTestFinished, test } from 'vitest';

/** The part of a sink that the suite uses. */
interface TestedSink {
  head(
    key: string,
    signal?: AbortSignal,
  ): Promise<{ readonly size: number; readonly digest: Digest | undefined } | undefined>;
  holds(object: {
    readonly key: string;
    readonly descriptor: Pick<Descriptor, 'digest' | 'size'>;
  }): Promise<boolean>;
  get(key: string, signal?: AbortSignal): Bytes;
  put(
    object: {
      readonly key: string;
      readonly descriptor: Pick<Descriptor, 'digest' | 'size'>;
      readonly contentType: string;
      readonly fileName?: string;
      readonly content:
        | { readonly kind: 'pieces'; readonly pieces: readonly Piece[] }
        | { readonly kind: 'bytes'; readonly bytes: Uint8Array }
        | { readonly kind: 'object'; readonly key: string };
    },
    onBytes: (bytes: number) => void,
    signal?: AbortSignal,
  ): Promise<'stored' | 'present'>;
  close(): Promise<void>;
}

export interface OpenedSink {
  readonly sink: TestedSink;
  /** A folder where the suite may put files that it then stores. */
  readonly scratch: string;
  /** Changes bytes of an object behind the sink's back; its size stays, and so does what the place says of it. */
  damage?(key: string): Promise<void>;
  close?(): Promise<void>;
}

const maxBytes = 32 * 1024 * 1024;
const key = 'image/376567988ad370138ad8b2698212367b8edcb69b5fd68c80be1f2ec7d603b4ba/v1.13.9/metal-amd64.iso';
const contentType = 'application/octet-stream';

/** @param make opens an empty place, a new one for each call */
export function objectSinkSuite(name: string, make: () => Promise<OpenedSink>): void {
  describe(`${name} as a place for objects`, async () => {
    // More than one part of any multipart upload, and no whole number of anything.
    const large = await generatedBlob(51, 9_000_001);
    const bytes = Buffer.from(await collect(large.open(), maxBytes, 'large'));
    const other = Buffer.from('something else');

    const open = async (): Promise<OpenedSink> => {
      const opened = await make();
      onTestFinished(async () => {
        await opened.sink.close();
        await opened.close?.();
      });
      return opened;
    };
    /** The large object in two files, each with something before it. */
    const inPieces = async (scratch: string): Promise<readonly Piece[]> => {
      const [a, b] = [join(scratch, 'a'), join(scratch, 'b')];
      await writeFile(
        a,
        Buffer.concat([Buffer.from('head'), bytes.subarray(0, 5_000_000), Buffer.from('tail')]),
      );
      await writeFile(b, Buffer.concat([Buffer.from('head'), bytes.subarray(5_000_000)]));
      return [
        { path: a, offset: 4, size: 5_000_000 },
        { path: b, offset: 4, size: bytes.byteLength - 5_000_000 },
      ];
    };
    const put = (sink: TestedSink, at: string, data: Uint8Array): Promise<'stored' | 'present'> =>
      sink.put(
        {
          key: at,
          descriptor: { digest: digestOf(data), size: data.byteLength },
          contentType,
          content: { kind: 'bytes', bytes: data },
        },
        () => {},
      );
    const expectHeld = async (sink: TestedSink, at: string, data: Uint8Array): Promise<void> => {
      expect((await sink.head(at))?.size).toBe(data.byteLength);
      expect(digestOf(await collect(sink.get(at), maxBytes, at))).toBe(digestOf(data));
    };

    test('stores what lies in pieces, counts the bytes, and finds it present the next time', async () => {
      const { sink, scratch } = await open();
      const content = { kind: 'pieces', pieces: await inPieces(scratch) } as const;
      const object = { key, descriptor: large.descriptor, contentType, fileName: 'metal-amd64.iso', content };
      let count = 0;
      expect(await sink.put(object, (n) => (count += n))).toBe('stored');
      expect(count).toBe(bytes.byteLength);
      await expectHeld(sink, key, bytes);
      expect(await sink.put(object, () => {})).toBe('present');
    });

    test('what it does not hold is not there', async () => {
      const { sink } = await open();
      expect(await sink.head(key)).toBeUndefined();
      await expect(collect(sink.get(key), maxBytes, key)).rejects.toThrow();
      await put(sink, key, other);
      // Neither what would be below it nor what it begins with.
      expect(await sink.head(`${key}/x`)).toBeUndefined();
      expect(await sink.head(key.slice(0, -1))).toBeUndefined();
      expect(await sink.head('image')).toBeUndefined();
    });

    test('an object of no bytes is one', async () => {
      const { sink } = await open();
      expect(await put(sink, 'versions', new Uint8Array(0))).toBe('stored');
      await expectHeld(sink, 'versions', new Uint8Array(0));
    });

    test('another object under the same key replaces the first, also one of the same size', async () => {
      const { sink } = await open();
      for (const text of ['["v1.13.8"]', '["v1.13.9"]', '["v1.13.8","v1.13.9"]']) {
        expect(await put(sink, 'versions', Buffer.from(text))).toBe('stored');
        await expectHeld(sink, 'versions', Buffer.from(text));
      }
    });

    test('content can be taken from another key of the same place', async () => {
      const { sink } = await open();
      await put(sink, 'schematics/a', other);
      const descriptor = { digest: digestOf(other), size: other.byteLength };
      const content = { kind: 'object', key: 'schematics/a' } as const;
      expect(await sink.put({ key: 'schematics/b', descriptor, contentType, content }, () => {})).toBe(
        'stored',
      );
      await expectHeld(sink, 'schematics/b', other);
    });

    test('an object is held when its bytes are the wanted ones, and is stored again when they are not', async () => {
      const opened = await open();
      const { sink } = opened;
      const wanted = { key, descriptor: { digest: digestOf(other), size: other.byteLength } };
      expect(await sink.holds(wanted)).toBe(false);
      await put(sink, key, other);
      expect(await sink.holds(wanted)).toBe(true);
      expect(await sink.holds({ key, descriptor: large.descriptor })).toBe(false);
      if (opened.damage === undefined) return;
      await opened.damage(key);
      expect(await sink.holds(wanted)).toBe(false);
      expect(await put(sink, key, other)).toBe('stored');
      expect(await sink.holds(wanted)).toBe(true);
      await expectHeld(sink, key, other);
    });

    test('T13 wrong or missing bytes are refused; what was there stays', async () => {
      const { sink, scratch } = await open();
      await put(sink, key, other);
      const pieces = await inPieces(scratch);
      const object = { key, descriptor: large.descriptor, contentType };
      const wrong = Buffer.from(bytes);
      wrong[8_000_000] = (wrong[8_000_000] ?? 0) ^ 1;
      const bad = { ...object, content: { kind: 'bytes', bytes: wrong } } as const;
      await expect(sink.put(bad, () => {})).rejects.toMatchObject({ code: 'DIGEST_MISMATCH' });
      await expectHeld(sink, key, other);
      await truncate(pieces[1]?.path ?? '', 1000);
      const cut = { ...object, content: { kind: 'pieces', pieces } } as const;
      await expect(sink.put(cut, () => {})).rejects.toMatchObject({
        code: expect.stringMatching(/^(MISSING_CONTENT|DIGEST_MISMATCH)$/),
      });
      await expectHeld(sink, key, other);
    });

    test('stops when it is told to; nothing half is visible, and the next time it is stored', async () => {
      const { sink, scratch } = await open();
      const content = { kind: 'pieces', pieces: await inPieces(scratch) } as const;
      const object = { key, descriptor: large.descriptor, contentType, content };
      const controller = new AbortController();
      const stopped = await sink
        .put(object, () => controller.abort(), controller.signal)
        .catch((error: unknown) => error);
      expect(exitCodeOf(stopped)).toBe(ExitCode.interrupted);
      expect(await sink.head(key)).toBeUndefined();
      expect(await sink.put(object, () => {})).toBe('stored');
      await expectHeld(sink, key, bytes);
    });

    test.each([
      '',
      '/abs',
      '../up',
      'a/../b',
      'a//b',
      'a/',
      './a',
      'a\u0000b',
      'a b',
      'a\nb',
      'x'.repeat(2000),
    ])('T50 %j is no key', async (bad) => {
      const { sink } = await open();
      await expect(put(sink, bad, other)).rejects.toMatchObject({ code: 'BAD_NAME' });
    });
  });
}
