import { describe, expect, test } from 'vitest';
import { Lease, largeBlock } from '../src/http/blocks.ts';

const mebibyte = 1024 * 1024;
/** Whoever has taken this much reads. */
const proven = 4 * mebibyte;
const nothingSoon = new Promise<void>(() => {});

const sizeOf = async (lease: Lease, sent: number, left: number): Promise<number> =>
  (await lease.next(sent, left)).buffer.byteLength;

describe('memory of an answer (F53)', () => {
  test('is one small block until the client has proven that it reads, then large ones', async () => {
    const lease = new Lease(2);
    const first = await lease.next(0, 100 * mebibyte);
    expect(first.buffer.byteLength).toBeLessThanOrEqual(32 * 1024);
    expect(await lease.next(mebibyte, 99 * mebibyte)).toBe(first);
    expect(await sizeOf(lease, proven, 96 * mebibyte)).toBe(largeBlock);
    await lease.end();
  });

  test('large blocks run out: others go on with small ones, and get large ones when they are back', async () => {
    const many = Array.from({ length: 100 }, () => new Lease(4));
    const sizes = await Promise.all(many.map((lease) => sizeOf(lease, proven, 100 * mebibyte)));
    const large = sizes.filter((size) => size === largeBlock).length;
    expect(large).toBeGreaterThan(0);
    expect(large * 4 * largeBlock).toBeLessThanOrEqual(16 * mebibyte);
    const last = many.pop() as Lease;
    expect(await sizeOf(last, proven, 100 * mebibyte)).toBeLessThan(largeBlock);
    await Promise.all(many.map((lease) => lease.end()));
    expect(await sizeOf(last, proven, 100 * mebibyte)).toBe(largeBlock);
    await last.end();
  });

  test('a block is never given while it is in use, also by the next answer', async () => {
    const lease = new Lease(2);
    const block = await lease.next(0, mebibyte);
    const { promise, resolve } = Promise.withResolvers<void>();
    lease.use(promise);
    const next = lease.next(100, mebibyte);
    expect(await Promise.race([next, Promise.resolve('waiting')])).toBe('waiting');
    resolve();
    expect(await next).toBe(block);
    lease.use(nothingSoon);
    void lease.end();
    const other = new Lease(2);
    expect(await other.next(0, mebibyte)).not.toBe(block);
    await other.end();
  });

  test('a use that failed is told at the next turn', async () => {
    const lease = new Lease(2);
    await lease.next(0, mebibyte);
    lease.use(Promise.reject(new Error('gone')));
    await expect(lease.next(100, mebibyte)).rejects.toThrow('gone');
    await expect(lease.settled()).rejects.toThrow('gone');
    await lease.end();
  });
});
