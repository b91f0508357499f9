import { serializeDocument } from '@omni-airgap/format';
import { digestOf, MediaType } from '@omni-airgap/oci/model';
import { describe, expect, test } from 'vitest';
import { parseLockDocument } from '../src/lock-document.ts';

const digest = digestOf(Buffer.from('x'));
const item = {
  name: 'ghcr.io/siderolabs/omni:v1.10.4',
  kind: 'image',
  descriptor: { mediaType: MediaType.ociIndex, digest, size: 5 },
  bytes: 100,
  source: 'https://ghcr.io/v2/siderolabs/omni/manifests/v1.10.4',
  fetchedAt: '2026-01-02T03:04:05.678Z',
};
const lock = { kind: 'omni-airgap/lock', schema: 1, items: [item], missing: [] };
const parse = (document: object): unknown => parseLockDocument(Buffer.from(serializeDocument(document)));

describe('documents', () => {
  test('are what they were when they come back', () => {
    const file = { name: 'a.iso', digest, size: 1, source: 'https://x/', fetchedAt: item.fetchedAt };
    const full = { ...lock, items: [{ ...item, platforms: ['linux/amd64'], files: [file] }], missing: ['x'] };
    expect(parse(full)).toEqual(full);
    expect(serializeDocument(full).endsWith('}\n')).toBe(true);
  });

  test.each<[string, object, string]>([
    ['a wrong kind of item', { ...lock, items: [{ ...item, kind: 'virus' }] }, 'items.0.kind'],
    [
      'a wrong digest',
      { ...lock, items: [item, { ...item, descriptor: { ...item.descriptor, digest: 'x' } }] },
      'items.1.descriptor.digest',
    ],
    ['an unknown member', { ...lock, items: [{ ...item, extra: 1 }] }, 'items.0.extra'],
    ['a missing member', { kind: lock.kind, schema: 1, items: [] }, 'missing'],
    ['a text that is too long', { ...lock, missing: ['x'.repeat(4097)] }, 'missing.0'],
    ['a time that is none', { ...lock, items: [{ ...item, fetchedAt: 'now' }] }, 'items.0.fetchedAt'],
    ['T16 a size that is text', { ...lock, items: [{ ...item, bytes: '5' }] }, 'items.0.bytes'],
    ['a list that is an object', { ...lock, items: {} }, 'items'],
    [
      'a web page in place of an image (C1)',
      { ...lock, items: [{ ...item, descriptor: { ...item.descriptor, mediaType: 'text/html' } }] },
      'ghcr.io/siderolabs/omni:v1.10.4: text/html is not a manifest type',
    ],
    ['a newer schema', { ...lock, schema: 2, new: true }, 'schema 2 is newer than this program'],
  ])('with %s are refused, naming the member', (_what, document, member) => {
    expect(() => parse(document)).toThrow(expect.objectContaining({ code: 'BAD_DOCUMENT' }));
    expect(() => parse(document)).toThrow(`lock.json: ${member}`);
  });
});
