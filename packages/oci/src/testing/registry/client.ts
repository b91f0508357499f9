/** A registry client over a gate of its own, mapped to a registry double; it never waits between attempts. */

import { HttpGate } from '../../http/gate.ts';
import type { EgressRecord } from '../../http/record.ts';
import { RegistryClient } from '../../registry/client.ts';
import type { RegistryOptions } from '../../registry/session.ts';

export interface DoubleClient {
  readonly client: RegistryClient;
  readonly gate: HttpGate;
  /** What the gate recorded. */
  readonly records: readonly EgressRecord[];
  /** Waits between attempts that were skipped, ms. */
  readonly waits: readonly number[];
}

/** @param double anything with a `url`; it becomes `registry.example` unless the options name a host */
export function connectToDouble(
  double: { readonly url: string },
  options: Partial<Omit<RegistryOptions, 'gate' | 'retry'>> & {
    /** Servers besides the registry, by host. */
    readonly others?: Readonly<Record<string, { readonly url: string }>>;
    /** Hosts that are allowed and have no server. */
    readonly allow?: readonly string[];
  } = {},
): DoubleClient {
  const { others = {}, allow = [], host = 'registry.example', ...rest } = options;
  const records: EgressRecord[] = [];
  const waits: number[] = [];
  const servers = { [host === 'docker.io' ? 'registry-1.docker.io' : host]: double, ...others };
  const gate = new HttpGate({
    policy: {
      hosts: [...Object.keys(servers), ...allow],
      plainHttp: [],
      allowPrivate: false,
      upstreams: Object.entries(servers).map(([at, { url }]) => ({ host: at, url: new URL(url) })),
    },
    egressLog: { record: (record) => records.push(record) },
  });
  const sleep = async (ms: number): Promise<void> => void waits.push(ms);
  return { client: new RegistryClient({ ...rest, gate, host, retry: { sleep } }), gate, records, waits };
}
