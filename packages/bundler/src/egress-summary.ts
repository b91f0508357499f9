/** What egress.jsonl says in sum: which hosts were contacted for the content of a store. */
import { join } from 'node:path';
import { byText, systemCodeOf } from '@omni-airgap/oci/base';
import { readEgressLog } from '@omni-airgap/store';

export interface HostSummary {
  readonly host: string;
  readonly requests: number;
  /** Bytes received. */
  readonly bytes: number;
}

/** Sorted by host; empty when nothing was recorded. */
export async function summarizeEgress(store: string): Promise<readonly HostSummary[]> {
  const hosts = new Map<string, { requests: number; bytes: number }>();
  try {
    for await (const record of readEgressLog(join(store, 'egress.jsonl'))) {
      const { host, bytes, refused } = record ?? {};
      // A refused request contacted nobody.
      if (typeof host !== 'string' || refused !== undefined) continue;
      const entry = hosts.get(host) ?? { requests: 0, bytes: 0 };
      entry.requests++;
      entry.bytes += typeof bytes === 'number' ? bytes : 0;
      hosts.set(host, entry);
    }
  } catch (error) {
    if (systemCodeOf(error) !== 'ENOENT') throw error;
  }
  return [...hosts].map(([host, counts]) => ({ host, ...counts })).sort((a, b) => byText(a.host, b.host));
}
