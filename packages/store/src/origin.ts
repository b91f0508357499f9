/**
 * Who issues bundles: a random name that a store keeps for ever, and how many bundles it has issued. The inside
 * remembers both, so that an older bundle cannot pass for a newer one. Since which number the content has been the same
 * decides whether a bundle is issued again or gets a new number.
 */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { CodedError, parseStrictObject } from '@omni-airgap/oci/base';
import { readSmallFile, removeTemporaries, writeFileAtomic } from '@omni-airgap/oci/fs';
import { isHex64 } from '@omni-airgap/oci/model';
import * as v from 'valibot';

const countSchema = v.pipe(v.number(), v.safeInteger(), v.minValue(0));

const schema = v.object({
  origin: v.pipe(v.string(), v.regex(/^[a-f0-9]{32}$/)),
  sequence: countSchema,
  content: v.optional(v.object({ hash: v.pipe(v.string(), v.check(isHex64)), since: countSchema })),
});

/** What a bundle says of who issued it. */
export interface BundleNumber {
  /** 32 hex characters. */
  readonly origin: string;
  /** Sequence number; 0 before the first bundle. */
  readonly sequence: number;
}

/** The last bundle issued. */
export interface Origin extends BundleNumber {
  /** Undefined before the first bundle, and where an earlier version of this program issued the last one. */
  readonly content?: IssuedContent | undefined;
}

/** What the last bundle gives a site, carried or relied on. */
interface IssuedContent {
  /** Hex. */
  readonly hash: string;
  /** Number of the first bundle from which on all have given this. */
  readonly since: number;
}

/** A new name where the store has none yet. @throws BAD_DOCUMENT, DISK */
export async function readOrigin(store: string): Promise<Origin> {
  const path = pathIn(store);
  const bytes = await readSmallFile(path, 4096);
  return bytes === undefined
    ? { origin: randomBytes(16).toString('hex'), sequence: 0 }
    : parseOrigin(bytes, path);
}

/** One more bundle. @param hash of its content, hex */
export function nextOrigin({ origin, sequence, content }: Origin, hash: string): Origin {
  const next = sequence + 1;
  return {
    origin,
    sequence: next,
    content: { hash, since: content?.hash === hash ? content.since : next },
  };
}

/**
 * Whether no later bundle had other content. One that is not current would take a site back to what it had before,
 * and load refuses that.
 */
export function isCurrent(bundle: BundleNumber, { origin, sequence, content }: Origin): boolean {
  // A store that has lost its origin.json issues what it has.
  if (sequence === 0) return true;
  return bundle.origin === origin && bundle.sequence >= (content?.since ?? sequence);
}

/** On disk when this resolves; the records are locked. @throws DISK */
export async function writeOrigin(store: string, origin: Origin): Promise<void> {
  const path = pathIn(store);
  const text = `${JSON.stringify(origin)}\n`;
  parseOrigin(Buffer.from(text), path);
  await removeTemporaries(store, 'origin.json');
  await writeFileAtomic(path, text);
}

function parseOrigin(bytes: Uint8Array, path: string): Origin {
  const result = v.safeParse(schema, parseStrictObject(bytes, { what: path }));
  if (result.success) return result.output;
  throw new CodedError('BAD_DOCUMENT', `${path}: not what this program wrote; restore it from a backup`);
}

function pathIn(store: string): string {
  return join(store, 'origin.json');
}
