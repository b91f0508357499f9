import { describe, expect, test } from 'vitest';
import { descriptorOf, isMediaType, parseDescriptor, plain } from '../src/model/descriptor.ts';
import { digestOf } from '../src/model/digest.ts';

const bytes = Buffer.from('hello');
const mediaType = 'application/vnd.oci.image.layer.v1.tar+gzip';
const good = { mediaType, digest: digestOf(bytes), size: 5 };
const parse = (value: unknown): unknown => parseDescriptor(value, 'layers[3]');

describe('descriptor', () => {
  test('keeps what the view knows and leaves out the rest', () => {
    const full = {
      ...good,
      annotations: { 'org.opencontainers.image.title': 'a.iso' },
      artifactType: 'application/vnd.test',
      platform: { os: 'linux', architecture: 'arm', variant: 'v7' },
    };
    expect(
      parse({ ...full, platform: { ...full.platform, 'os.version': '1' }, urls: [], extra: { a: 1 } }),
    ).toEqual(full);
    expect(parse(good)).toEqual(good);
    expect(plain(parseDescriptor(full, ''))).toEqual(good);
    expect(descriptorOf(mediaType, bytes)).toEqual(good);
  });

  test.each([
    [-1],
    [1.5],
    ['12'],
    [2 ** 53],
    [2 ** 62],
    [Number.NaN],
    [Number.POSITIVE_INFINITY],
    [null],
    [undefined],
    [true],
    [[5]],
  ])('T16 a size of %j is refused', (size) => {
    expect(() => parse({ ...good, size })).toThrow(expect.objectContaining({ code: 'BAD_DOCUMENT' }));
    expect(() => parse({ ...good, size })).toThrow(/^layers\[3\]: size must be a whole number of bytes/);
  });

  test('T16 sizes from 0 to 2^53 - 1 are taken without allocating anything', () => {
    for (const size of [0, 2 ** 53 - 1]) expect(parse({ ...good, size })).toEqual({ ...good, size });
  });

  test.each([
    ['no digest', { ...good, digest: undefined }],
    ['T22 a digest that is a path', { ...good, digest: 'sha256:../../../../etc/passwd' }],
    ['T22 a digest of another algorithm', { ...good, digest: `sha512:${'0'.repeat(128)}` }],
    ['no media type', { ...good, mediaType: undefined }],
    ['a media type with a parameter', { ...good, mediaType: 'text/html; charset=utf-8' }],
    ['T25 a media type with a line break', { ...good, mediaType: 'text/html\r\nX: y' }],
    ['an artifact type that is none', { ...good, artifactType: 'x y' }],
    ['annotations that are no object', { ...good, annotations: ['a'] }],
    ['annotations that are no text', { ...good, annotations: { a: 1 } }],
    ['a platform whose architecture is no text', { ...good, platform: { os: 'linux', architecture: 5 } }],
    ['a platform that is a list', { ...good, platform: [] }],
    ['a platform that is text', { ...good, platform: 'linux/amd64' }],
    ['text', 'sha256:abc'],
    ['nothing', null],
    ['a list', [good]],
  ])('refuses %s', (_what, value) => {
    expect(() => parse(value)).toThrow(expect.objectContaining({ code: 'BAD_DOCUMENT' }));
    expect(() => parse(value)).toThrow(/^layers\[3\]/);
  });

  test.each([['http://169.254.169.254/'], ['https://mcr.microsoft.com/x']])(
    'P11 T23 urls stay in the view, for whoever has to say that they are not followed: %s',
    (url) => {
      expect(parse({ ...good, urls: [url] })).toEqual({ ...good, urls: [url] });
      for (const urls of [url, [5], { url }]) {
        expect(() => parse({ ...good, urls })).toThrow('urls must be a list of text');
      }
    },
  );

  test.each(['urls', 'annotations', 'data', 'platform', 'artifactType'])('P10 %s: null is absent', (key) => {
    expect(parse({ ...good, [key]: null })).toEqual(good);
  });
  test.each(['mediaType', 'digest', 'size'])('P10 %s must not be null', (key) => {
    expect(() => parse({ ...good, [key]: null })).toThrow(expect.objectContaining({ code: 'BAD_DOCUMENT' }));
  });

  const empty = Buffer.from('{}');
  const config = { mediaType: 'application/vnd.oci.empty.v1+json', digest: digestOf(empty), size: 2 };
  test.each([
    ['without padding', 'e30'],
    ['with a line break', 'e30=\n'],
    ['with a space', 'e3 0='],
    ['with bits that say nothing', 'e31='],
    ['with too much padding', 'e30=='],
    ['of the alphabet for URLs', 'e30_'],
    ['number', 5],
  ])('P4 data %s is refused, since other readers refuse the whole layout for it', (_what, data) => {
    expect(() => parse({ ...config, data })).toThrow(/RFC 4648/);
    expect(parse({ ...config, data: 'e30=' })).toEqual(config);
  });

  test.each([
    ['null', null],
    ['empty', {}],
    ['of empty strings', { architecture: '', os: '' }],
    ['of nulls', { architecture: null, os: null, variant: null }],
    ['without architecture', { os: 'linux' }],
    ['unknown/unknown', { architecture: 'unknown', os: 'unknown' }],
  ])('P3 a platform that is %s is none', (_what, platform) => {
    expect(parse({ ...good, platform })).toEqual(good);
  });

  test('T24 embedded data must be the content', () => {
    expect(parse({ ...good, data: bytes.toString('base64') })).toEqual(good);
    for (const data of [
      Buffer.from('hellO').toString('base64'),
      Buffer.from('hello!').toString('base64'),
      '',
    ]) {
      expect(() => parse({ ...good, data })).toThrow('embedded data');
    }
  });

  test.each([['Digest'], ['SIZE'], ['mediatype'], ['url\u017f'], ['annotation\u017f']])(
    'T21 a member %s that only Go takes for ours is refused',
    (key) => {
      expect(() => parse({ ...good, [key]: 'x' })).toThrow('by its case');
    },
  );

  test('media types have a grammar', () => {
    for (const text of [mediaType, 'text/plain', 'application/vnd.cncf.helm.config.v1+json']) {
      expect(isMediaType(text)).toBe(true);
    }
    for (const text of ['', 'text', '/', 'a/', 'a/b/c', ' a/b', 'a/b\n', `a/${'b'.repeat(300)}`, 5]) {
      expect(isMediaType(text)).toBe(false);
    }
  });
});
