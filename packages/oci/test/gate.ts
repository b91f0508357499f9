/** A gate whose hosts are servers on loopback; all of it ends with the test. */
import { createHash } from 'node:crypto';
import type { RequestListener } from 'node:http';
import { onTestFinished } from 'vitest';
import { markLent } from '../src/base/chunk-memory.ts';
import { type GateOptions, HttpGate, type StreamBody } from '../src/http/gate.ts';
import type { EgressPolicy } from '../src/http/policy.ts';
import type { EgressRecord } from '../src/http/record.ts';
import type { Bytes } from '../src/storage.ts';
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

/** 32 MiB in chunks whose memory gets other bytes as soon as it is given back. */
export function lentBody(chunkKiB: number): {
  readonly body: StreamBody;
  readonly sent: () => string;
  readonly givenBack: () => number;
} {
  const [size, count] = [chunkKiB * 1024, (32 * 1024) / chunkKiB];
  const hash = createHash('sha256');
  let givenBack = 0;
  async function* open(): Bytes {
    for (let i = 0; i < count; i++) {
      const chunk = Buffer.alloc(size, `chunk ${i} `);
      hash.update(chunk);
      markLent(chunk, () => {
        chunk.fill('another');
        givenBack++;
      });
      yield chunk;
    }
  }
  return { body: { size: size * count, open }, sent: () => hash.digest('hex'), givenBack: () => givenBack };
}

/** Reads only when all buffers on the way are full, so that chunks wait in the memory that they were made in. */
export function lateReader(): { readonly listener: RequestListener; readonly received: () => string } {
  const hash = createHash('sha256');
  const listener: RequestListener = async (request, response) => {
    await new Promise((resolve) => setTimeout(resolve, 100));
    for await (const chunk of request) hash.update(chunk as Buffer);
    response.end();
  };
  return { listener, received: () => hash.digest('hex') };
}
