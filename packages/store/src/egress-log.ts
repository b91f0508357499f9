/**
 * The egress record: one JSON line per request and per refusal, for whoever approves or reviews what the
 * connected host did. Never a query, a header or a credential (threat T53).
 */
import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { dirname } from 'node:path';
import { createInterface } from 'node:readline';
import {
  byText,
  type CodedError,
  formatBytes,
  isCoded,
  type JsonObject,
  parseStrictObject,
  systemCodeOf,
} from '@omni-airgap/oci/base';
import { diskError, freeBytes } from '@omni-airgap/oci/fs';
import type { EgressSink } from '@omni-airgap/oci/http';

export interface EgressLog extends EgressSink {
  /**
   * Fires with DISK as its reason when a line cannot be written: nothing may be requested that is not on record. What is
   * recorded from then on is dropped.
   */
  readonly failed: AbortSignal;
  /** Writes what is buffered and closes the file. @throws DISK when a line could not be written */
  close(): Promise<void>;
}

/**
 * Appends records to a file as JSON lines, readable by its owner only. Lines of one turn of the event loop
 * are written together.
 * @throws DISK when the file cannot be opened
 */
export async function openEgressLog(path: string): Promise<EgressLog> {
  const file = await open(path, 'a', 0o600).catch(async (cause: unknown) => {
    throw await egressError(cause, path);
  });
  await file.chmod(0o600).catch(() => undefined);
  let buffered = '';
  const failing = new AbortController();
  const { signal: failed } = failing;
  let writing: Promise<void> | undefined;

  const drain = async (): Promise<void> => {
    await new Promise(setImmediate);
    while (buffered !== '' && !failed.aborted) {
      const lines = buffered;
      buffered = '';
      try {
        await file.appendFile(lines);
      } catch (cause) {
        failing.abort(await egressError(cause, path));
      }
    }
    writing = undefined;
  };
  return {
    failed,
    record(record) {
      if (failed.aborted) return;
      buffered += `${JSON.stringify(record)}\n`;
      writing ??= drain();
    },
    async close() {
      await writing;
      await file.close().catch(async (cause: unknown) => {
        failing.abort(await egressError(cause, path));
      });
      failed.throwIfAborted();
    },
  };
}

/** What the system says, and how much space there is: a full disk is the usual cause. */
async function egressError(cause: unknown, path: string): Promise<CodedError> {
  const free = await freeBytes(dirname(path)).catch(() => undefined);
  const space = free === undefined ? '' : `; ${formatBytes(free)} free`;
  return diskError(cause, `${path} (the egress record${space})`);
}

export interface HostSummary {
  readonly host: string;
  readonly requests: number;
  /** Bytes received. */
  readonly bytes: number;
}

/** Requests that were made, sorted by host; empty when nothing was recorded. */
export async function summarizeEgress(path: string): Promise<readonly HostSummary[]> {
  const hosts = new Map<string, { requests: number; bytes: number }>();
  try {
    for await (const record of readEgressLog(path)) {
      const { host, bytes, refused } = record ?? {};
      if (typeof host !== 'string' || refused !== undefined) continue;
      const entry = hosts.get(host) ?? { requests: 0, bytes: 0 };
      entry.requests++;
      entry.bytes += typeof bytes === 'number' ? bytes : 0;
      hosts.set(host, entry);
    }
  } catch (error) {
    if (systemCodeOf(error) !== 'ENOENT') throw diskError(error, path);
  }
  return [...hosts].map(([host, counts]) => ({ host, ...counts })).sort((a, b) => byText(a.host, b.host));
}

/** A line is far shorter; a file without line ends must not fill the memory. */
const maxLineBytes = 64 * 1024;

/**
 * The records of a file, untrusted; undefined for each line that is none: a power cut leaves one.
 * @throws what reading the file throws
 */
export async function* readEgressLog(path: string): AsyncIterable<JsonObject | undefined> {
  for await (const line of createInterface({ input: createReadStream(path, 'utf8') })) {
    yield line.length > maxLineBytes ? undefined : parseLine(line);
  }
}

function parseLine(line: string): JsonObject | undefined {
  try {
    return parseStrictObject(Buffer.from(line), { what: 'egress.jsonl' });
  } catch (error) {
    if (isCoded(error, 'BAD_DOCUMENT')) return undefined;
    throw error;
  }
}
