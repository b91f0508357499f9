/** A registry client over a gate of its own, mapped to a registry double; it never waits between attempts. */
import type { EgressRecord } from '../http/egress-log.ts';
import { type GateOptions, HttpGate } from '../http/gate.ts';
import { RegistryClient } from '../registry/client.ts';
import type { RegistryOptions } from '../registry/session.ts';

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
    readonly gate?: Partial<GateOptions>;
    /** Hosts allowed besides the registry's own. */
    readonly allow?: readonly string[];
  } = {},
): DoubleClient {
  const { gate: gateOptions = {}, allow = [], host = 'registry.example', ...rest } = options;
  const records: EgressRecord[] = [];
  const waits: number[] = [];
  const real = host === 'docker.io' ? 'registry-1.docker.io' : host;
  const gate = new HttpGate({
    policy: {
      hosts: [real, ...allow],
      plainHttp: [],
      allowPrivate: false,
      upstreams: [{ host: real, url: new URL(double.url) }],
    },
    egressLog: { record: (record) => records.push(record) },
    ...gateOptions,
  });
  const sleep = async (ms: number): Promise<void> => void waits.push(ms);
  return { client: new RegistryClient({ ...rest, gate, host, retry: { sleep } }), gate, records, waits };
}
