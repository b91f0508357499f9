/** A gate whose hosts are servers on loopback; all of it ends with the test. */
import { onTestFinished } from 'vitest';
import { type GateOptions, HttpGate } from '../src/http/gate.ts';
import type { EgressPolicy } from '../src/http/policy.ts';
import type { EgressRecord } from '../src/http/record.ts';
import { type LoopbackServer, startHttpServer } from '../src/testing/http-server.ts';

export const server = async (listener: Parameters<typeof startHttpServer>[0]): Promise<LoopbackServer> => {
  const started = await startHttpServer(listener);
  onTestFinished(() => started.close());
  return started;
};
/** A gate whose logical hosts are mapped to loopback servers. */
export function gateTo(
  mapped: Readonly<Record<string, LoopbackServer>>,
  options: Partial<GateOptions> & { readonly policy?: EgressPolicy } = {},
): { gate: HttpGate; records: EgressRecord[] } {
  const records: EgressRecord[] = [];
  const gate = new HttpGate({
    egressLog: { record: (record) => records.push(record) },
    policy: {
      hosts: Object.keys(mapped),
      plainHttp: [],
      allowPrivate: false,
      upstreams: Object.entries(mapped).map(([host, { url }]) => ({ host, url: new URL(url) })),
    },
    ...options,
  });
  onTestFinished(() => gate.close());
  return { gate, records };
}
export const plainPolicy = (...hosts: string[]): EgressPolicy => ({
  hosts,
  plainHttp: hosts,
  allowPrivate: true,
  upstreams: [],
});
