/**
 * The least that Node.js can do the same work in: raw sockets read into one large buffer, SHA-256, write, fsync; no checks of
 * what a server answers, no retries, no records. A bound to compare with, never a way to carry anything. Each mode is a
 * process of its own:
 *
 *   node floor.ts fetch HOST OUT LIST [CA]   blobs of LIST (lines of PATH and HEX) into OUT, a connection and thread for each core
 *   node floor.ts get HOST LIST              answers of the paths of LIST, eight connections
 *   node floor.ts push HOST REPOSITORY FILE… sends files as blobs, a few at once; their names are their digests
 *   node floor.ts pack OUT FILE…             all files into one, hashed
 *   node floor.ts hash FILE…
 */
import { createHash } from 'node:crypto';
import {
  closeSync,
  fsync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  readSync,
  statSync,
  writeSync,
} from 'node:fs';
import { Agent, type IncomingMessage, request } from 'node:http';
import { connect as connectTcp } from 'node:net';
import { availableParallelism } from 'node:os';
import { basename, join } from 'node:path';
import { connect as connectTls } from 'node:tls';
import { Worker, workerData } from 'node:worker_threads';

const bufferSize = 1024 ** 2;
/** Of the fetch; a push has twice as many requests at once. */
const threads = availableParallelism();
/** Registries have no manifest for clients that do not ask for its type. */
const accept = 'application/vnd.oci.image.manifest.v1+json';

interface Blob {
  readonly path: string;
  readonly hex: string;
}

interface Part {
  readonly host: string;
  readonly out: string;
  readonly ca: string | undefined;
  readonly blobs: readonly Blob[];
}

if (workerData !== null) await receive(workerData as Part);
else await main(process.argv.slice(2));

async function main([mode, ...args]: readonly string[]): Promise<void> {
  const [first = '', second = '', third = '', fourth] = args;
  if (mode === 'fetch') await fetchAll(first, second, listOf(third), fourth);
  else if (mode === 'get') await getAll(first, listOf(second));
  else if (mode === 'push') await pushAll(first, second, args.slice(2));
  else if (mode === 'pack') pack(first, args.slice(1));
  else if (mode === 'hash') for (const file of args) readAll(file, () => {});
  else throw new Error(`no mode ${mode}`);
}

function listOf(file: string): readonly Blob[] {
  return readFileSync(file, 'utf8')
    .trim()
    .split('\n')
    .map((line) => {
      const [path = '', hex = ''] = line.split(' ');
      return { path, hex };
    });
}

async function fetchAll(
  host: string,
  out: string,
  blobs: readonly Blob[],
  caFile: string | undefined,
): Promise<void> {
  mkdirSync(out, { recursive: true });
  const ca = caFile === undefined ? undefined : readFileSync(caFile, 'utf8');
  const parts = Array.from({ length: threads }, (_, i) => blobs.filter((_blob, n) => n % threads === i));
  await Promise.all(
    parts.map((part) => {
      const worker = new Worker(import.meta.filename, {
        workerData: { host, out, ca, blobs: part } satisfies Part,
      });
      return new Promise<void>((resolve, reject) => {
        worker.once('error', reject);
        worker.once('exit', () => resolve());
      });
    }),
  );
  const folder = openSync(out, 'r');
  fsyncSync(folder);
  closeSync(folder);
}

/** One connection, one request after the other. */
async function receive({ host, out, ca, blobs }: Part): Promise<void> {
  if (blobs.length === 0) return;
  const synced: Promise<void>[] = [];
  const { hostname, port } = new URL(`http://${host}`);
  await new Promise<void>((resolve, reject) => {
    let next = 0;
    let left = 0;
    let head = '';
    let fd = -1;
    let hash = createHash('sha256');
    const ask = (): void => {
      const blob = blobs[next];
      if (blob === undefined) {
        socket.destroy();
        resolve();
        return;
      }
      head = '';
      hash = createHash('sha256');
      fd = openSync(join(out, blob.hex), 'w');
      socket.write(`GET ${blob.path} HTTP/1.1\r\nHost: ${host}\r\nAccept: ${accept}\r\n\r\n`);
    };
    const finish = (): void => {
      if (hash.digest('hex') !== blobs[next]?.hex) throw new Error(`${blobs[next]?.path}: wrong content`);
      const file = fd;
      synced.push(
        new Promise((done, fail) => {
          fsync(file, (error) => {
            closeSync(file);
            if (error === null) done();
            else fail(error);
          });
        }),
      );
      next++;
      ask();
    };
    const take = (chunk: Uint8Array): void => {
      let body = chunk;
      if (left === 0) {
        const start = head.length;
        head += Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength).toString('latin1');
        const end = head.indexOf('\r\n\r\n');
        if (end < 0) return;
        if (!head.startsWith('HTTP/1.1 200')) throw new Error(head.slice(0, 100));
        left = Number(/^content-length: (\d+)/im.exec(head.slice(0, end))?.[1]);
        body = chunk.subarray(end + 4 - start);
      }
      hash.update(body);
      writeSync(fd, body);
      left -= body.byteLength;
      if (left === 0) finish();
    };
    const onread = {
      buffer: Buffer.allocUnsafeSlow(bufferSize),
      callback(count: number, buffer: Uint8Array): boolean {
        take(buffer.subarray(0, count));
        return true;
      },
    };
    const target = { host: hostname, port: Number(port), onread };
    const socket = ca === undefined ? connectTcp(target, ask) : connectTls({ ...target, ca }, ask);
    socket.on('error', reject);
  });
  await Promise.all(synced);
}

async function getAll(host: string, blobs: readonly Blob[]): Promise<void> {
  const queue = [...blobs];
  const agent = new Agent({ keepAlive: true, maxSockets: 8 });
  await Promise.all(
    Array.from({ length: 8 }, async () => {
      for (let one = queue.pop(); one !== undefined; one = queue.pop()) {
        const answer = await send(`http://${host}${one.path}`, { agent, headers: { accept } });
        if (answer.statusCode !== 200) throw new Error(`${one.path}: ${answer.statusCode}`);
      }
    }),
  );
  agent.destroy();
}

async function pushAll(host: string, repository: string, files: readonly string[]): Promise<void> {
  const queue = [...files];
  const agent = new Agent({ keepAlive: true, maxSockets: 2 * threads });
  await Promise.all(
    Array.from({ length: 2 * threads }, async () => {
      for (let file = queue.pop(); file !== undefined; file = queue.pop()) {
        const begun = await send(`http://${host}/v2/${repository}/blobs/uploads/`, { agent, method: 'POST' });
        const location = new URL(begun.headers.location ?? '', `http://${host}`);
        location.searchParams.set('digest', `sha256:${basename(file)}`);
        const answer = await send(location.href, { agent, method: 'PUT' }, file);
        if (answer.statusCode !== 201) throw new Error(`${file}: ${answer.statusCode}`);
      }
    }),
  );
  agent.destroy();
}

function send(url: string, options: object, file?: string): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const asked = request(url, options, (answer) => {
      answer.resume();
      answer.once('end', () => resolve(answer));
    });
    asked.once('error', reject);
    if (file === undefined) {
      asked.end();
      return;
    }
    asked.setHeader('content-length', statSync(file).size);
    const fd = openSync(file, 'r');
    const more = (): void => {
      for (;;) {
        const buffer = Buffer.allocUnsafe(bufferSize);
        const count = readSync(fd, buffer);
        if (count === 0) {
          closeSync(fd);
          asked.end();
          return;
        }
        if (!asked.write(buffer.subarray(0, count))) {
          asked.once('drain', more);
          return;
        }
      }
    };
    more();
  });
}

function pack(out: string, files: readonly string[]): void {
  const fd = openSync(out, 'w');
  for (const file of files) readAll(file, (chunk) => writeSync(fd, chunk));
  fsyncSync(fd);
  closeSync(fd);
}

/** @returns the digest, in hex */
function readAll(file: string, take: (chunk: Uint8Array) => void): string {
  const hash = createHash('sha256');
  const buffer = Buffer.allocUnsafeSlow(bufferSize);
  const fd = openSync(file, 'r');
  for (let count = readSync(fd, buffer); count > 0; count = readSync(fd, buffer)) {
    const chunk = buffer.subarray(0, count);
    hash.update(chunk);
    take(chunk);
  }
  closeSync(fd);
  return hash.digest('hex');
}
