/**
 * The least that Node.js can do the same work in: raw sockets read into one large buffer, SHA-256, write, fsync; no checks of
 * what a server answers, no retries, no records. A bound to compare with, never a way to carry anything. Each mode is a
 * process of its own:
 *
 *   node floor.ts fetch HOST OUT LIST [CA]   blobs of LIST (lines of PATH and HEX) into OUT, a connection and thread for each core
 *   node floor.ts ask HOST LIST              the requests of LIST (lines of METHOD, PATH and STATUS), eight connections
 *   node floor.ts push HOST REPOSITORY FILE… hashes files and sends them as blobs, a few at once; their names are their digests
 *   node floor.ts pack OUT FILE…             all files into one, hashed on a thread, synced behind the writes; prints the digest
 *   node floor.ts hash FILE…
 */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import {
  closeSync,
  fdatasync,
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
import { promisify } from 'node:util';
import { Worker, workerData } from 'node:worker_threads';
import { SharedBlocks } from './shared-blocks.ts';

const bufferSize = 1024 ** 2;
/** Of `pack`, less than the kernel would let gather: with one sync at the end, 2 GiB took 3.3 s instead of 2.5 s. */
const syncedAtOnce = 64 * 1024 ** 2;
/** Of the fetch; a push has twice as many requests at once. */
const threads = availableParallelism();
/** Registries have no manifest for clients that do not ask for its type. */
const accept = 'application/vnd.oci.image.manifest.v1+json';

interface Blob {
  readonly path: string;
  readonly hex: string;
}

interface Request {
  readonly method: string;
  readonly path: string;
  /** What it was answered with before. */
  readonly status: string;
}

interface Part {
  readonly host: string;
  readonly out: string;
  readonly ca: string | undefined;
  readonly blobs: readonly Blob[];
}

if (workerData instanceof SharedArrayBuffer) hashBlocks(new SharedBlocks(workerData));
else if (workerData !== null) await receive(workerData as Part);
else await main(process.argv.slice(2));

async function main([mode, ...args]: readonly string[]): Promise<void> {
  const [first = '', second = '', third = '', fourth] = args;
  if (mode === 'fetch') {
    const blobs = wordsOf(third).map(([path = '', hex = '']) => ({ path, hex }));
    await fetchAll(first, second, blobs, fourth);
  } else if (mode === 'ask') {
    const requests = wordsOf(second).map(([method = '', path = '', status = '']) => ({
      method,
      path,
      status,
    }));
    await askAll(first, requests);
  } else if (mode === 'push') await pushAll(first, second, args.slice(2));
  else if (mode === 'pack') await pack(first, args.slice(1));
  else if (mode === 'hash') for (const file of args) hashFile(file);
  else throw new Error(`no mode ${mode}`);
}

/** Each line of a file. */
function wordsOf(file: string): readonly (readonly string[])[] {
  return readFileSync(file, 'utf8')
    .trim()
    .split('\n')
    .map((line) => line.split(' '));
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

/** One after the other on each connection. @throws Error for another status than before */
async function askAll(host: string, requests: readonly Request[]): Promise<void> {
  const { hostname, port } = new URL(`http://${host}`);
  let next = 0;
  const askOnOne = (): Promise<void> =>
    new Promise((resolve, reject) => {
      let asked: Request | undefined;
      let text = '';
      const ask = (): void => {
        asked = requests[next++];
        text = '';
        if (asked === undefined) socket.destroy();
        else
          socket.write(
            `${asked.method} ${asked.path} HTTP/1.1\r\nHost: ${host}\r\nAccept: ${accept}\r\n\r\n`,
          );
      };
      const socket = connectTcp({ host: hostname, port: Number(port), noDelay: true }, ask);
      socket.setEncoding('latin1').on('data', (chunk: string) => {
        text += chunk;
        if (asked === undefined || !isWhole(text, asked.method)) return;
        if (text.startsWith(`HTTP/1.1 ${asked.status} `)) ask();
        else socket.destroy(new Error(`${asked.method} ${asked.path}: ${text.slice(0, 100)}`));
      });
      socket.once('error', reject);
      socket.once('close', () => {
        if (asked === undefined) resolve();
        else reject(new Error(`${asked.method} ${asked.path}: the connection ended`));
      });
    });
  await Promise.all(Array.from({ length: 8 }, askOnOne));
}

/** @param text of an answer so far; RFC 9112 section 6.3 */
function isWhole(text: string, method: string): boolean {
  const end = text.indexOf('\r\n\r\n') + 4;
  if (end < 4) return false;
  if (method === 'HEAD') return true;
  const head = text.slice(0, end);
  if (/^transfer-encoding: chunked/im.test(head)) return text.endsWith('\r\n0\r\n\r\n');
  return text.length >= end + Number(/^content-length: (\d+)/im.exec(head)?.[1] ?? 0);
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
    const hash = createHash('sha256');
    const buffer = Buffer.allocUnsafeSlow(bufferSize);
    const more = (): void => {
      const count = readSync(fd, buffer);
      if (count > 0) {
        const chunk = buffer.subarray(0, count);
        hash.update(chunk);
        asked.write(chunk, more);
        return;
      }
      closeSync(fd);
      if (hash.digest('hex') === basename(file)) asked.end();
      else asked.destroy(new Error(`${file}: wrong content`));
    };
    more();
  });
}

function hashBlocks(blocks: SharedBlocks): void {
  const hash = createHash('sha256');
  blocks.take((block) => hash.update(block));
  console.log(hash.digest('hex'));
}

async function pack(out: string, files: readonly string[]): Promise<void> {
  const blocks = new SharedBlocks();
  const worker = new Worker(import.meta.filename, { workerData: blocks.memory });
  const hashed = once(worker, 'exit');
  const fd = openSync(out, 'w');
  let unsynced = 0;
  let synced: Promise<unknown> | undefined;
  for (const file of files) {
    const from = openSync(file, 'r');
    for (;;) {
      const block = blocks.free();
      const count = readSync(from, block);
      if (count === 0) break;
      blocks.fill(count);
      writeSync(fd, block, 0, count);
      unsynced += count;
      if (unsynced < syncedAtOnce) continue;
      await synced;
      synced = promisify(fdatasync)(fd);
      unsynced = 0;
    }
    closeSync(from);
  }
  blocks.free();
  blocks.fill(0);
  await synced;
  await promisify(fsync)(fd);
  closeSync(fd);
  await hashed;
}

function hashFile(file: string): void {
  const hash = createHash('sha256');
  const buffer = Buffer.allocUnsafeSlow(bufferSize);
  const fd = openSync(file, 'r');
  for (let count = readSync(fd, buffer); count > 0; count = readSync(fd, buffer))
    hash.update(buffer.subarray(0, count));
  closeSync(fd);
  hash.digest();
}
