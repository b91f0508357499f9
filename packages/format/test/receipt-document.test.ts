import { digestOf } from '@omni-airgap/oci/model';
import { expect, test } from 'vitest';
import {
  parseReceiptDocument,
  type ReceiptDocument,
  serializeReceipt,
} from '../src/documents/receipt-document.ts';

const digest = digestOf(Buffer.from('x'));
const receipt: ReceiptDocument = {
  bundle: 'a'.repeat(64),
  kind: 'omni-airgap/receipt',
  schema: 1,
  origin: 'b'.repeat(32),
  sequence: 1,
  loadedAt: '2026-01-02T00:00:00Z',
  tool: 'test',
  trust: { mode: 'unsigned' },
  images: [{ name: 'ghcr.io/a/b:v1', target: 'registry.site/a/b:v1', digest }],
  objects: [],
};

test('a receipt is what it was when it is read again, and its first line names the bundle', () => {
  const text = serializeReceipt(receipt);
  expect(text.split('\n')[0]).toContain(receipt.bundle);
  expect(parseReceiptDocument(Buffer.from(text))).toEqual(receipt);
});

test('a receipt that nobody could read again is not written (C1)', () => {
  const bad = { ...receipt, loadedAt: 'now' };
  expect(() => serializeReceipt(bad)).toThrow(expect.objectContaining({ code: 'BAD_DOCUMENT' }));
});
