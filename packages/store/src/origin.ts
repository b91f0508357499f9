/**
 * Who issues bundles: a random name that a store keeps for ever, and how many bundles it has issued. The inside
 * remembers both, so that an older bundle cannot pass for a newer one.
 */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { CodedError, parseStrictObject } from '@omni-airgap/oci/base';
import { readSmallFile, removeTemporaries, writeFileAtomic } from '@omni-airgap/oci/fs';

export interface Origin {
  /** 32 hex characters. */
  readonly origin: string;
  /** Sequence number of the last bundle issued; 0 before the first. */
  readonly sequence: number;
}

/** A new name where the store has none yet. @throws BAD_DOCUMENT, DISK */
export async function readOrigin(store: string): Promise<Origin> {
  const path = pathIn(store);
  const bytes = await readSmallFile(path, 4096);
  return bytes === undefined
    ? { origin: randomBytes(16).toString('hex'), sequence: 0 }
    : parseOrigin(bytes, path);
}

/** One more bundle. */
export function nextOrigin({ origin, sequence }: Origin): Origin {
  return { origin, sequence: sequence + 1 };
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
  const { origin, sequence } = parseStrictObject(bytes, { what: path });
  const isCount = typeof sequence === 'number' && Number.isSafeInteger(sequence) && sequence >= 0;
  if (typeof origin === 'string' && /^[a-f0-9]{32}$/.test(origin) && isCount) return { origin, sequence };
  throw new CodedError('BAD_DOCUMENT', `${path}: not what this program wrote; restore it from a backup`);
}

function pathIn(store: string): string {
  return join(store, 'origin.json');
}
