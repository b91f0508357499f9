/** What egress.jsonl says in sum: which hosts were contacted for the content of a store. */
import { createReadStream } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { byText, isCoded, parseStrictObject, systemCodeOf } from '@omni-airgap/oci/base';

export interface HostSummary {
  readonly host: string;
  readonly requests: number;
  /** Bytes received. */
  readonly bytes: number;
}

/** Sorted by host; empty when nothing was recorded. */
export async function summarizeEgress(store: string): Promise<readonly HostSummary[]> {
  const hosts = new Map<string, { requests: number; bytes: number }>();
  const lines = createInterface({ input: createReadStream(join(store, 'egress.jsonl'), 'utf8') });
  try {
    for await (const line of lines) {
      const record = parseLine(line);
      if (record === undefined) continue;
      const entry = hosts.get(record.host) ?? { requests: 0, bytes: 0 };
      entry.requests++;
      entry.bytes += record.bytes;
      hosts.set(record.host, entry);
    }
  } catch (error) {
    if (systemCodeOf(error) !== 'ENOENT') throw error;
  }
  return [...hosts].map(([host, counts]) => ({ host, ...counts })).sort((a, b) => byText(a.host, b.host));
}

/** A line that a power cut left half written does not count; a refused request contacted nobody. */
function parseLine(line: string): { readonly host: string; readonly bytes: number } | undefined {
  try {
    const { host, bytes, refused } = parseStrictObject(Buffer.from(line), { what: 'egress.jsonl' });
    if (typeof host !== 'string' || refused !== undefined) return undefined;
    return { host, bytes: typeof bytes === 'number' ? bytes : 0 };
  } catch (error) {
    if (isCoded(error, 'BAD_DOCUMENT')) return undefined;
    throw error;
  }
}
