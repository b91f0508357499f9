/** egress log: what an egress.jsonl says in sum: who was contacted, at which addresses, and what was refused. */
import { byText, CodedError, type JsonObject, printable, systemCodeOf } from '@omni-airgap/oci/base';
import { diskError } from '@omni-airgap/oci/fs';
import { readEgressLog } from '@omni-airgap/store';

interface LoggedHost {
  readonly host: string;
  /** Requests that were made. */
  readonly requests: number;
  /** Body bytes, in both directions. */
  readonly bytes: number;
  /** Where they went; empty when a proxy made the connections. */
  readonly addresses: readonly string[];
  readonly viaProxy: number;
  /** Requests without an answer. */
  readonly failed: number;
  /** Requests that were not made, with the reasons, each once. */
  readonly refused: number;
  readonly reasons: readonly string[];
}

export interface EgressSummary {
  readonly from: string | undefined;
  readonly to: string | undefined;
  readonly hosts: readonly LoggedHost[];
  /** Lines that are no record: a power cut leaves one. */
  readonly damaged: number;
}

interface Counts {
  requests: number;
  bytes: number;
  readonly addresses: Set<string>;
  viaProxy: number;
  failed: number;
  refused: number;
  readonly reasons: Set<string>;
}

const maxReasons = 20;

/** @throws NO_INPUT when there is no such file, DISK */
export async function summarizeLog(path: string): Promise<EgressSummary> {
  const hosts = new Map<string, Counts>();
  let from: string | undefined;
  let to: string | undefined;
  let damaged = 0;
  try {
    for await (const entry of readEgressLog(path)) {
      const record = entry && lineOf(entry);
      if (record === undefined) {
        damaged++;
        continue;
      }
      from = from === undefined || record.time < from ? record.time : from;
      to = to === undefined || record.time > to ? record.time : to;
      count(hosts, record);
    }
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT')
      throw new CodedError('NO_INPUT', `${path}: not found; a fetch writes it into the store`);
    throw diskError(error, path);
  }
  return {
    from,
    to,
    hosts: [...hosts]
      .sort(([a], [b]) => byText(a, b))
      .map(([host, counts]) => ({
        host,
        ...counts,
        addresses: [...counts.addresses].sort(byText),
        reasons: [...counts.reasons],
      })),
    damaged,
  };
}

interface Line {
  readonly time: string;
  readonly host: string;
  readonly record: JsonObject;
}

function lineOf(record: JsonObject): Line | undefined {
  const { time, host } = record;
  return typeof time === 'string' && typeof host === 'string'
    ? { time: printable(time), host: printable(host), record }
    : undefined;
}

function count(hosts: Map<string, Counts>, { host, record }: Line): void {
  const counts = hosts.get(host) ?? {
    requests: 0,
    bytes: 0,
    addresses: new Set(),
    viaProxy: 0,
    failed: 0,
    refused: 0,
    reasons: new Set(),
  };
  hosts.set(host, counts);
  const { refused, bytes, address, via, status } = record;
  if (typeof refused === 'string') {
    counts.refused++;
    if (counts.reasons.size < maxReasons) counts.reasons.add(printable(refused, 500));
    return;
  }
  counts.requests++;
  if (typeof bytes === 'number') counts.bytes += bytes;
  if (typeof address === 'string' && address !== '') counts.addresses.add(printable(address));
  if (via === 'proxy') counts.viaProxy++;
  if (status === undefined) counts.failed++;
}
