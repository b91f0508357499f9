/**
 * Who issues bundles: a random name that a store keeps for ever, and how many bundles it has issued. The inside
 * remembers both, so that an older bundle cannot pass for a newer one.
 */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { CodedError, parseStrictObject } from '@omni-airgap/oci/base';
import { readSmallFile, writeFileAtomic } from '@omni-airgap/oci/fs';

export interface Origin {
  /** 32 hex characters. */
  readonly origin: string;
  /** Sequence number of the last bundle issued; 0 before the first. */
  readonly sequence: number;
}

/** @throws BAD_DOCUMENT */
export async function readOrigin(store: string): Promise<Origin> {
  const path = join(store, 'origin.json');
  const bytes = await readSmallFile(path, 4096);
  if (bytes === undefined) return { origin: randomBytes(16).toString('hex'), sequence: 0 };
  const { origin, sequence } = parseStrictObject(bytes, { what: path });
  if (typeof origin !== 'string' || !/^[a-f0-9]{32}$/.test(origin) || typeof sequence !== 'number') {
    throw new CodedError('BAD_DOCUMENT', `${path}: not what this program wrote; restore it from a backup`);
  }
  return { origin, sequence };
}

/** Counts one more bundle; on disk before the bundle is, so that no number is ever used twice. */
export async function nextOrigin(store: string, before: Origin): Promise<Origin> {
  const next = { origin: before.origin, sequence: before.sequence + 1 };
  await writeFileAtomic(join(store, 'origin.json'), `${JSON.stringify(next)}\n`);
  return next;
}
