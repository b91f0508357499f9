import { describe, expect, test } from 'vitest';
import { parseRange } from '../src/http/message.ts';

describe('Range (F52 serve.range)', () => {
  test.each([
    ['bytes=500-1499', { start: 500, end: 1499 }],
    ['bytes=500-', { start: 500, end: 2047 }],
    ['bytes=-500', { start: 1548, end: 2047 }],
    ['bytes=-5000', { start: 0, end: 2047 }],
    ['bytes=2000-5000', { start: 2000, end: 2047 }],
    ['bytes=0-0', { start: 0, end: 0 }],
    ['bytes=2047-', { start: 2047, end: 2047 }],
  ])('%s is one range', (header, range) => expect(parseRange(header, 2048)).toEqual(range));

  test.each(['bytes=2048-', 'bytes=5000-10000', 'bytes=500-0', 'bytes=-0'])('%s is 416', (header) =>
    expect(parseRange(header, 2048)).toBe('unsatisfiable'),
  );

  test.each([
    undefined,
    'bytes=0-1,5-6',
    'bytes=-',
    'bytes=',
    'lines=1-2',
    'bytes=a-b',
    'bytes=1-2-3',
    'bytes=99999999999999999999-',
  ])('%s is answered whole', (header) => expect(parseRange(header, 2048)).toBe('whole'));

  test('nothing of an empty body can be had', () => {
    expect(parseRange('bytes=0-', 0)).toBe('unsatisfiable');
    expect(parseRange('bytes=-1', 0)).toBe('unsatisfiable');
  });
});
