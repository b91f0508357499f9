/**
 * What a load writes on this host: the folder of its state, the receipt, the hand-off, parts of blobs. All of it is tried
 * before anything moves, and what killed loads left there is removed.
 *
 * While a load runs it shares the lock `load.lock` in the folder of its state. Whoever gets that lock alone knows that no
 * load with this state is writing: temporary files are abandoned then, and prune may decide what goes.
 */
import { readdir } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { isCoded } from '@omni-airgap/oci/base';
import {
  acquireLock,
  checkOutput,
  checkOutputFolder,
  diskError,
  ensureFolder,
  type Lock,
  removeTemporaries,
} from '@omni-airgap/oci/fs';
import { handoffFolders } from './handoff.ts';
import type { LoadSource } from './source.ts';

interface OutputPaths {
  readonly source: LoadSource;
  readonly state: string;
  readonly receipt?: string | undefined;
  /** Undefined when none is written. */
  readonly handoff: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Folders in the state that hold files of their own: `accepted/<target>` is the deepest. */
const stateDepth = 2;

/**
 * Tries all outputs and tidies them up.
 * @returns ends the use of the state; to be called when the load is over
 * @throws USAGE, DISK naming the flag of an output that cannot be written; BUSY while prune runs
 */
export async function openOutputs(paths: OutputPaths): Promise<() => Promise<void>> {
  const { source, state, receipt, handoff, signal } = paths;
  await checkOutputFolder('--state', state);
  const receiptFile = receipt === undefined ? undefined : await checkOutput('--receipt', receipt);
  if (handoff !== undefined) await checkOutputFolder('--handoff', handoff);
  await source.checkParts();
  await ensureFolder(state);
  const alone = await orUnlocked(lockState(state, 'exclusive', 'omni-airgap load', { signal })).catch(
    (error: unknown) => {
      if (isCoded(error, 'BUSY')) return undefined;
      throw error;
    },
  );
  try {
    if (alone !== undefined) {
      await tidy(state, stateDepth);
      if (receiptFile !== undefined) await removeTemporaries(dirname(receiptFile), basename(receiptFile));
      if (handoff !== undefined)
        for (const below of ['', ...handoffFolders]) await removeTemporaries(join(handoff, below));
    }
  } catch (error) {
    // Nothing depends on it.
    if (!isCoded(error, 'DISK')) throw error;
  } finally {
    await alone?.release();
  }
  const shared = await orUnlocked(lockState(state, 'shared', 'omni-airgap load', { waitMs: tidyMs, signal }));
  return async () => shared?.release();
}

/** Another load that tidies up, and has the lock alone for that, is done before. */
const tidyMs = 10_000;

/** @param mode `shared` while a load runs; `exclusive` where none may run @throws BUSY naming who has it; DISK */
export function lockState(
  state: string,
  mode: 'exclusive' | 'shared',
  purpose: string,
  options: { readonly waitMs?: number; readonly signal: AbortSignal | undefined },
): Promise<Lock> {
  return acquireLock(join(state, 'load.lock'), mode, { purpose, ...options });
}

/** Undefined where files cannot be locked: then nothing is removed, and nothing else is known of others. */
async function orUnlocked(lock: Promise<Lock>): Promise<Lock | undefined> {
  return lock.catch((error: unknown) => {
    if (isCoded(error, 'DISK')) return undefined;
    throw error;
  });
}

async function tidy(folder: string, depth: number): Promise<void> {
  await removeTemporaries(folder);
  if (depth === 0) return;
  const entries = await readdir(folder, { withFileTypes: true }).catch((error: unknown) => {
    throw diskError(error, folder);
  });
  for (const entry of entries) if (entry.isDirectory()) await tidy(join(folder, entry.name), depth - 1);
}
