/** Large bodies by our own reader: what it hands on is what undici hands on, whatever a server does. */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { describe, expect, onTestFinished, test } from 'vitest';
import { giveBack } from '../src/base/chunk-memory.ts';
import { isCoded } from '../src/base/errors.ts';
import type { GateOptions, GateRequest, HttpGate } from '../src/http/gate.ts';
import type { LoopbackServer } from '../src/testing/http-server.ts';
import { gateTo, server } from './gate.ts';

const kibibyte = 1024;
const mebibyte = 1024 * kibibyte;
const block = 512 * kibibyte;
const bodyOf = (size: number): Buffer => {
  const body = Buffer.alloc(size);
  for (let i = 0; i < size; i++) body[i] = (i * 31 + (i >> 8) * 7 + (i >> 16)) & 255;
  return body;
};
/** Enough for the reader to be used. */
const expectedBytes = mebibyte;
const sha = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

interface RawServer extends Pick<LoopbackServer, 'url' | 'host'> {
  /** Heads of the requests so far, and on which connection each came. */
  readonly requests: readonly { readonly head: string; readonly connection: number }[];
  /** Bytes that were given to sockets. */
  readonly sent: number;
}

/** A server that answers in raw bytes. @param answer writes to the socket; n counts requests from 1 */
async function rawServer(answer: (socket: Socket, n: number, head: string) => void): Promise<RawServer> {
  const requests: { head: string; connection: number }[] = [];
  const sockets = new Set<Socket>();
  let connections = 0;
  const raw = createServer((socket) => {
    const connection = ++connections;
    sockets.add(socket);
    socket.on('error', () => {});
    let text = '';
    socket.on('data', (data) => {
      text += data.toString('latin1');
      for (let end = text.indexOf('\r\n\r\n'); end >= 0; end = text.indexOf('\r\n\r\n')) {
        const head = text.slice(0, end);
        text = text.slice(end + 4);
        requests.push({ head, connection });
        answer(socket, requests.length, head);
      }
    });
  });
  await new Promise<void>((resolve) => raw.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    return new Promise<void>((resolve) => void raw.close(() => resolve()));
  });
  const host = `127.0.0.1:${(raw.address() as { port: number }).port}`;
  return {
    url: `http://${host}`,
    host,
    requests,
    get sent() {
      return [...sockets].reduce((sum, { bytesWritten }) => sum + bytesWritten, 0);
    },
  };
}

const gateFor = (to: Pick<LoopbackServer, 'url' | 'host'>, options: Partial<GateOptions> = {}) =>
  gateTo({ 'ghcr.io': to as LoopbackServer }, options);

interface Outcome {
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** SHA-256 and number of the bytes that came, also before a failure. */
  readonly body?: string;
  readonly size?: number;
  readonly code?: string;
  readonly message?: string;
}

async function outcomeOf(gate: HttpGate, more: Partial<GateRequest> = {}): Promise<Outcome> {
  const url = 'https://ghcr.io/v2/a/blobs/sha256:1?n=s3cret';
  const hash = createHash('sha256');
  let seen: Outcome = {};
  let size = 0;
  try {
    const { status, headers, body } = await gate.request({ method: 'GET', url, anyEncoding: true, ...more });
    seen = { status, headers: { ...headers } };
    for await (const chunk of body) {
      hash.update(chunk);
      size += chunk.byteLength;
      giveBack(chunk);
    }
    return { ...seen, body: hash.digest('hex'), size };
  } catch (error) {
    if (!isCoded(error)) throw error;
    return { ...seen, body: hash.digest('hex'), size, code: error.code, message: error.message };
  }
}

const ok = (body: Uint8Array, ...fields: readonly string[]): Buffer =>
  Buffer.concat([
    Buffer.from(
      [`HTTP/1.1 200 OK`, `Content-Length: ${body.byteLength}`, ...fields, '', ''].join('\r\n'),
      'latin1',
    ),
    body,
  ]);
const raw = (text: string): Buffer => Buffer.from(text.replaceAll('\n', '\r\n'), 'latin1');
const large = bodyOf(3 * mebibyte + 17);

describe('gives the same as undici', () => {
  const whole = (bytes: Buffer) => (socket: Socket) => void socket.write(bytes);
  const closing = (bytes: Buffer) => (socket: Socket) => void socket.end(bytes);
  test.each<readonly [what: string, answer: (socket: Socket) => void]>([
    ['no bytes', whole(ok(Buffer.alloc(0)))],
    ['one byte', whole(ok(bodyOf(1)))],
    ...[block - 1, block, block + 1, 2 * block, block - 64 * kibibyte, 5 * mebibyte].map(
      (size) => [`${size} bytes`, whole(ok(bodyOf(size)))] as const,
    ),
    [
      'a range',
      whole(raw('HTTP/1.1 206 Partial Content\nContent-Range: bytes 5-9/10\nContent-Length: 5\n\nabcde')),
    ],
    ['no reason phrase', whole(raw('HTTP/1.1 200\nContent-Length: 2\n\nab'))],
    [
      'names in other cases, spaces around values',
      whole(raw('HTTP/1.1 200 OK\ncontent-LENGTH: \t2 \nX-A:\t b c \n\nab')),
    ],
    ['repeated fields', whole(ok(large, 'Warning: a', 'Warning: b', 'WARNING: c'))],
    ['letters beyond ASCII', whole(ok(large, 'X-Name: \u00fcber'))],
    ['the end of the connection announced', closing(ok(large, 'Connection: close'))],
    ['HTTP/1.0', closing(raw('HTTP/1.0 200 OK\nContent-Length: 2\n\nab'))],
    ['no length', closing(raw('HTTP/1.1 200 OK\n\nabc'))],
    ['chunks', whole(raw('HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n3\nabc\n0\n\n'))],
    [
      'chunks and a length',
      whole(raw('HTTP/1.1 200 OK\nTransfer-Encoding: chunked\nContent-Length: 3\n\n3\nabc\n0\n\n')),
    ],
    ['two lengths', closing(raw('HTTP/1.1 200 OK\nContent-Length: 2\nContent-Length: 3\n\nabc'))],
    ['two equal lengths', closing(raw('HTTP/1.1 200 OK\nContent-Length: 3\nContent-Length: 3\n\nabc'))],
    ['a list of lengths', closing(raw('HTTP/1.1 200 OK\nContent-Length: 3, 3\n\nabc'))],
    ['a length with a sign', closing(raw('HTTP/1.1 200 OK\nContent-Length: +3\n\nabc'))],
    ['a negative length', closing(raw('HTTP/1.1 200 OK\nContent-Length: -3\n\nabc'))],
    ['an empty length', closing(raw('HTTP/1.1 200 OK\nContent-Length:\n\nabc'))],
    ['an endless length', closing(raw('HTTP/1.1 200 OK\nContent-Length: 99999999999999999999\n\nabc'))],
    ['an encoding', whole(raw('HTTP/1.1 200 OK\nContent-Encoding: gzip\nContent-Length: 3\n\nabc'))],
    ['a line that goes on in the next', whole(raw('HTTP/1.1 200 OK\nX-A: b\n c\nContent-Length: 3\n\nabc'))],
    ['a field without a name', whole(raw('HTTP/1.1 200 OK\n: b\nContent-Length: 3\n\nabc'))],
    ['a space before the colon', whole(raw('HTTP/1.1 200 OK\nContent-Length : 3\n\nabc'))],
    ['a NUL', whole(raw('HTTP/1.1 200 OK\nX-A: \0\nContent-Length: 3\n\nabc'))],
    ['lines that end in LF alone', closing(Buffer.from('HTTP/1.1 200 OK\nContent-Length: 3\n\nabc'))],
    ['no HTTP', closing(raw('SSH-2.0-OpenSSH_9.2\n\n'))],
    ['nothing', (socket) => void socket.end()],
    ['half a head', closing(raw('HTTP/1.1 200 OK\nContent-Le'))],
    [
      'a head without end',
      closing(raw(`HTTP/1.1 200 OK\n${'X-A: b\n'.repeat(5000)}Content-Length: 3\n\nabc`)),
    ],
    [
      'early hints',
      whole(raw('HTTP/1.1 103 Early Hints\nLink: </a>\n\nHTTP/1.1 200 OK\nContent-Length: 3\n\nabc')),
    ],
    ['no content', whole(raw('HTTP/1.1 204 No Content\n\n'))],
    ['not modified', whole(raw('HTTP/1.1 304 Not Modified\nContent-Length: 3\n\n'))],
    ['an error', whole(raw('HTTP/1.1 404 Not Found\nContent-Length: 3\n\nabc'))],
    [
      'a redirect to nowhere',
      whole(raw('HTTP/1.1 307 Temporary Redirect\nLocation: https://evil.example/\nContent-Length: 0\n\n')),
    ],
    ['a body cut short', closing(ok(large).subarray(0, 2_000_000))],
    [
      'a connection that is reset',
      (socket) => void socket.write(ok(large).subarray(0, 700), () => socket.resetAndDestroy()),
    ],
    [
      'the head byte by byte',
      async (socket) => {
        const bytes = ok(large);
        socket.setNoDelay(true);
        for (let i = 0; i < 60; i++) {
          socket.write(bytes.subarray(i, i + 1));
          await new Promise((resolve) => setImmediate(resolve));
        }
        socket.write(bytes.subarray(60));
      },
    ],
  ])('%s', async (_, answer) => {
    const origin = await rawServer((socket) => answer(socket));
    const [ours, theirs] = [gateFor(origin), gateFor(origin, { blockReader: false })];
    const wanted = await outcomeOf(theirs.gate, { expectedBytes });
    expect(await outcomeOf(ours.gate, { expectedBytes })).toEqual(wanted);
    // What was recorded is what undici's is, with a line for each request that was made twice.
    const of = ({ records }: typeof ours) => records.map(({ time: _, ...rest }) => rest);
    expect(of(ours).slice(-of(theirs).length)).toEqual(of(theirs));
    const made = [...ours.records, ...theirs.records].filter(({ refused }) => refused === undefined);
    expect(made.length).toBe(origin.requests.length);
  });

  test('a body that stalls, and an answer that does not come', async () => {
    for (const bytes of [ok(large).subarray(0, 2_000_000), Buffer.alloc(0)]) {
      const origin = await rawServer((socket) => void socket.write(bytes));
      const times = { headersTimeoutMs: 300, stallTimeoutMs: 300 };
      const [ours, theirs] = [gateFor(origin, times), gateFor(origin, { ...times, blockReader: false })];
      const wanted = await outcomeOf(theirs.gate);
      expect(wanted.code).toBe('NETWORK');
      expect(await outcomeOf(ours.gate, { expectedBytes })).toEqual(wanted);
    }
  });

  test('what is sent, but for the order of its fields', async () => {
    const origin = await rawServer((socket) => void socket.write(ok(bodyOf(5))));
    const more = {
      headers: { Range: 'bytes=5-', accept: 'a, b' },
      authorization: 'Bearer abc',
      expectedBytes,
    };
    for (const blockReader of [true, false]) await outcomeOf(gateFor(origin, { blockReader }).gate, more);
    const [ours, theirs] = origin.requests.map(({ head }) => head.split('\r\n'));
    expect(ours?.[0]).toBe(theirs?.[0]);
    const kept = theirs?.slice(1).filter((line) => line !== 'connection: keep-alive');
    expect(ours?.slice(1).sort()).toEqual(kept?.sort());
  });
});

describe('connections', () => {
  test('are used again, one request at a time each, and no more of them than allowed', async () => {
    const origin = await server((_, response) => void setTimeout(() => response.end(large), 20));
    const { gate, records } = gateFor(origin, { connections: 3 });
    for (let round = 0; round < 2; round++) {
      const all = await Promise.all(Array.from({ length: 7 }, () => outcomeOf(gate, { expectedBytes })));
      for (const one of all) expect(one).toMatchObject({ status: 200, body: sha(large) });
    }
    expect(origin.connections).toBe(3);
    expect(records.map(({ bytes, address }) => `${bytes} ${address}`)).toEqual(
      Array<string>(14).fill(`${large.byteLength} 127.0.0.1`),
    );
  });

  test('T36 what follows a body is the answer to nothing: its connection ends', async () => {
    const poison = ok(Buffer.from('poison'));
    for (const size of [5, block - 1, block, mebibyte]) {
      const body = bodyOf(size);
      const origin = await rawServer((socket, n) => {
        socket.write(n % 2 === 1 ? Buffer.concat([ok(body), poison]) : ok(body));
      });
      const { gate } = gateFor(origin);
      for (let n = 0; n < 3; n++)
        expect((await outcomeOf(gate, { expectedBytes })).body, `${size}`).toBe(sha(body));
      expect(origin.requests[0]?.connection).not.toBe(origin.requests[1]?.connection);
    }
  });

  test('one that the server ends while idle is not used again', async () => {
    const closed: Promise<unknown>[] = [];
    const origin = await rawServer((socket) => {
      closed.push(once(socket, 'close'));
      socket.write(ok(large), () => setTimeout(() => socket.end(), 20));
    });
    const { gate } = gateFor(origin);
    for (let n = 0; n < 2; n++) {
      expect((await outcomeOf(gate, { expectedBytes })).body).toBe(sha(large));
      await closed[n];
    }
  });

  test('an origin whose answers are not plain is asked through undici from then on', async () => {
    const origin = await server((_, response) => void response.writeHead(200).end(large));
    const { gate, records } = gateFor(origin);
    for (let n = 0; n < 3; n++) expect((await outcomeOf(gate, { expectedBytes })).body).toBe(sha(large));
    expect(origin.requests.length).toBe(4);
    expect(records.map(({ status, bytes }) => [status, bytes])).toEqual([
      [200, 0],
      ...Array<readonly number[]>(3).fill([200, large.byteLength]),
    ]);
  });

  test('closing the gate ends what flows and what waits', async () => {
    const origin = await rawServer((socket) => void socket.write(ok(large).subarray(0, 2_000_000)));
    const { gate } = gateFor(origin, { connections: 1 });
    const asked = [outcomeOf(gate, { expectedBytes }), outcomeOf(gate, { expectedBytes })];
    while (origin.requests.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    await gate.close();
    for (const one of await Promise.all(asked)) expect(one).toMatchObject({ code: 'NETWORK' });
  });
});

describe('the body', () => {
  test('lies in blocks that belong to the consumer, and are used again once they are given back', async () => {
    const origin = await rawServer((socket) => void socket.write(ok(large)));
    const { gate } = gateFor(origin);
    const request = { method: 'GET', url: 'https://ghcr.io/blob', expectedBytes } as const;
    const kept: Uint8Array[] = [];
    for (let n = 0; n < 3; n++)
      for await (const chunk of (await gate.request(request)).body) kept.push(chunk);
    expect(sha(Buffer.concat(kept))).toBe(sha(Buffer.concat([large, large, large])));
    const blocks = new Set(
      kept.filter(({ byteLength }) => byteLength >= 256 * kibibyte).map(({ buffer }) => buffer),
    );
    expect(blocks.size).toBeGreaterThan(5);
    for (const chunk of kept) giveBack(chunk);
    let again = 0;
    for await (const chunk of (await gate.request(request)).body) if (blocks.has(chunk.buffer)) again++;
    expect(again).toBeGreaterThan(1);
  });

  test('is waited for by whoever reads slowly: it is not buffered whole', async () => {
    const size = 64 * mebibyte;
    const origin = await rawServer((socket) => {
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${size}\r\n\r\n`);
      const chunk = Buffer.alloc(mebibyte);
      let left = size;
      const more = (): void => {
        if (left === 0) return;
        left -= chunk.byteLength;
        socket.write(chunk, more);
      };
      more();
    });
    const { gate } = gateFor(origin);
    const response = await gate.request({ method: 'GET', url: 'https://ghcr.io/blob', expectedBytes });
    let received = 0;
    let most = 0;
    for await (const chunk of response.body) {
      received += chunk.byteLength;
      giveBack(chunk);
      if (received > 8 * mebibyte) continue;
      await new Promise((resolve) => setTimeout(resolve, 50));
      most = Math.max(most, origin.sent - received);
    }
    expect(received).toBe(size);
    // Two blocks, and what the sockets of both sides hold.
    expect(most).toBeLessThan(24 * mebibyte);
  });

  test('is given up when it is not wanted, or the request is aborted', async () => {
    const origin = await rawServer((socket) => void socket.write(ok(large)));
    const { gate } = gateFor(origin);
    const request = { method: 'GET', url: 'https://ghcr.io/blob', expectedBytes } as const;
    for await (const _ of (await gate.request(request)).body) break;
    const stop = new AbortController();
    const stopped = outcomeOf(gate, { expectedBytes, signal: stop.signal });
    stop.abort();
    expect(await stopped).toMatchObject({ code: 'ABORTED' });
    expect((await outcomeOf(gate, { expectedBytes })).body).toBe(sha(large));
  });
});

test('T34 a name that resolves to an inside address is refused when connecting', async () => {
  const lookup = async () => [{ address: '10.0.0.7', family: 4 }];
  const policy = { hosts: ['ghcr.io'], plainHttp: [], allowPrivate: false, upstreams: [] };
  const { gate, records } = gateTo({}, { policy, lookup });
  expect(await outcomeOf(gate, { expectedBytes })).toMatchObject({ code: 'EGRESS_DENIED' });
  expect(records).toMatchObject([{ address: '', bytes: 0, refused: expect.stringContaining('10.0.0.7') }]);
});
