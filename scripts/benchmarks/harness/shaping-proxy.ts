/**
 * A long line on loopback: forwards TCP connections to a server, each with a delay and at a bounded rate. A process of
 * its own, so that its work is nobody else's:
 *
 *   node scripts/benchmarks/harness/shaping-proxy.ts PORT ROUND_TRIP_MS MB_PER_SECOND
 *
 * prints the port it listens on.
 */
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

const [port = 0, roundTripMs = 0, megabytes = 0] = process.argv.slice(2).map(Number);
const bytesPerMs = megabytes * 1000;
/** Bytes on the line above which the sender is stopped: what the delay and the rate come to, and some more. */
const window = Math.max(64 * 1024, 2 * roundTripMs * bytesPerMs);

const server = createServer({ noDelay: true }, (near) => {
  const far = connect({ port, host: '127.0.0.1', noDelay: true });
  // The handshake of the line itself: the first bytes wait for a whole round trip more.
  const opened = performance.now() + roundTripMs;
  shape(near, far, opened);
  shape(far, near, opened);
});
server.listen(0, '127.0.0.1', () => console.log((server.address() as AddressInfo).port));

function shape(from: Socket, to: Socket, opened: number): void {
  let free = opened;
  let waiting = 0;
  const queue: { readonly due: number; readonly chunk: Buffer | undefined }[] = [];
  let isTimed = false;
  const send = (): void => {
    isTimed = false;
    for (let next = queue[0]; next !== undefined; next = queue[0]) {
      const wait = next.due - performance.now();
      if (wait > 0.5) {
        isTimed = true;
        setTimeout(send, wait);
        return;
      }
      queue.shift();
      if (next.chunk === undefined) to.end();
      else {
        waiting -= next.chunk.byteLength;
        to.write(next.chunk);
        if (waiting < window && from.isPaused()) from.resume();
      }
    }
  };
  const put = (chunk: Buffer | undefined): void => {
    const size = chunk?.byteLength ?? 0;
    free = Math.max(free, performance.now()) + size / bytesPerMs;
    queue.push({ due: free + roundTripMs / 2, chunk });
    if (isTimed) return;
    isTimed = true;
    setTimeout(send, Math.max(0, (queue[0]?.due ?? 0) - performance.now()));
  };
  from.on('data', (chunk: Buffer) => {
    waiting += chunk.byteLength;
    if (waiting >= window) from.pause();
    put(chunk);
  });
  from.on('end', () => put(undefined));
  from.on('error', () => to.destroy());
  from.on('close', () => {
    if (!from.readableEnded) to.destroy();
  });
}
