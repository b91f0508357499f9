/**
 * Reads large bodies straight into large blocks: half the work of receiving them in chunks of 64 KiB, each in memory of
 * its own. Only for what is plain: a GET of one origin over connections of its own, answered by 200 or 206 with one
 * Content-Length and no encoding. Whatever else an answer looks like, undici is asked instead and judges it; from then
 * on this origin is asked through undici.
 * Source: RFC 9112 sections 4 (status line), 5 (fields), 6.3 (length), 9.3 (persistence).
 */
import type { OnReadOpts, Socket } from 'node:net';
import type { buildConnector, Dispatcher } from 'undici';
import { giveBuffer, takeBuffer } from '../base/buffers.ts';
import { markLent } from '../base/chunk-memory.ts';
import type { Endpoint, Exchange } from './exchange.ts';
import { bareAddress } from './host.ts';
import { errors } from './undici.ts';

/** Bytes of status line and fields at most; as undici. */
const maxHead = 16 * 1024;
/** Bytes of a block. Four of them are in use for each body; larger ones take no less time. */
const blockSize = 512 * 1024;
/** A block with less room than this is handed on. */
const leastRoom = 64 * 1024;
/** On a slow line a block is handed on before it is full, so that progress and rate are seen. */
const handOnAfterMs = 100;
/** What is less is copied: a few bytes keep no block, and one block that waits to be read pauses the socket. */
const smallChunk = 256 * 1024;
/** An idle connection ends after this; as undici. A server that says less gets a second to spare. */
const keepAliveMs = 4000;

/** What the gate sends; of undici's options those that are used. */
export interface BlockRequest {
  /** With query. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  /** From the last byte sent to the end of the head. */
  readonly headersTimeout: number;
  /** Longest pause within the body. */
  readonly bodyTimeout: number;
}

/** A request that was made and whose answer is not for this reader. */
export interface Unfit {
  readonly address: string;
  /** Undefined where there was none that could be read. */
  readonly status: number | undefined;
}

interface Task {
  readonly request: BlockRequest;
  readonly exchange: Exchange;
  /** @param unfit undefined when no request was made */
  readonly instead: (unfit: Unfit | undefined) => void;
}

export interface BlockClientOptions {
  readonly origin: URL;
  /** Connections at a time. */
  readonly connections: number;
  /** A connector whose socket reads as it is told. */
  readonly connectorFor: (onread: OnReadOpts) => buildConnector.connector;
  readonly endpointOf: (socket: Socket) => Endpoint;
}

/** Connections to one origin. */
export class BlockClient {
  readonly options: BlockClientOptions;
  readonly #lines = new Set<Line>();
  readonly #idle = new Set<Line>();
  readonly #waiting: Task[] = [];
  #isFit = true;
  #isDestroyed = false;

  constructor(options: BlockClientOptions) {
    this.options = options;
  }

  /**
   * Lets the exchange have the answer, as a dispatcher of undici does.
   * @param instead asks undici; called at most once, before the exchange has heard of an answer
   */
  get(request: BlockRequest, exchange: Exchange, instead: Task['instead']): void {
    if (this.#isDestroyed || !this.#isFit || !isSendable(request)) {
      instead(undefined);
      return;
    }
    this.#waiting.push({ request, exchange, instead });
    this.#next();
  }

  /** Ends all connections at once; requests in progress fail. */
  destroy(): void {
    this.#isDestroyed = true;
    const error = new errors.ClientDestroyedError();
    for (const { exchange } of this.#waiting.splice(0)) exchange.onResponseError(undefined, error);
    for (const line of [...this.#lines]) line.fail(error);
  }

  /** An answer was not plain: undici is asked, now and later. */
  unfit({ instead }: Task, unfit: Unfit): void {
    this.#isFit = false;
    instead(unfit);
    for (const task of this.#waiting.splice(0)) task.instead(undefined);
  }

  idle(line: Line): void {
    this.#idle.add(line);
    this.#next();
  }

  ended(line: Line): void {
    this.#lines.delete(line);
    this.#idle.delete(line);
    this.#next();
  }

  #next(): void {
    while (this.#waiting.length > 0) {
      const [line] = this.#idle;
      if (line === undefined && this.#lines.size >= this.options.connections) return;
      const task = this.#waiting.shift() as Task;
      if (line !== undefined) {
        this.#idle.delete(line);
        line.send(task);
      } else {
        this.#lines.add(new Line(this, task));
      }
    }
  }
}

/** One connection, one request at a time. */
class Line {
  readonly #client: BlockClient;
  readonly #head = Buffer.allocUnsafeSlow(maxHead);
  #headUsed = 0;
  #socket: Socket | undefined;
  #endpoint: Endpoint = { address: '', issuer: '', unsent: 0 };
  #task: Task | undefined;
  #controller: Dispatcher.DispatchController | undefined;
  /** Where bytes go while a body comes. */
  #block: Buffer | undefined;
  #used = 0;
  /** Bytes of the body to come; undefined when none is under way. */
  #left: number | undefined;
  /** How long it may be idle afterwards, milliseconds; 0 when the server ends it. */
  #keepMs = keepAliveMs;
  #paused = false;
  #timer: NodeJS.Timeout | undefined;
  #lastByte = 0;
  #handedOn = 0;
  #ended = false;

  constructor(client: BlockClient, task: Task) {
    this.#client = client;
    this.#task = task;
    const { origin, connectorFor, endpointOf } = client.options;
    const connect = connectorFor({ buffer: () => this.#room(), callback: (bytes) => this.#received(bytes) });
    const { host, protocol, port } = origin;
    connect({ host, hostname: bareAddress(origin.hostname), protocol, port }, (error, socket) => {
      if (error !== null) {
        this.fail(error);
        return;
      }
      this.#socket = socket;
      // The alert of a TLS server is followed by an orderly end, which would be told in its place.
      socket.on('error', (cause) => this.fail(cause));
      socket.on('close', () => this.#closed());
      if (this.#ended) {
        socket.destroy();
        return;
      }
      this.#endpoint = endpointOf(socket);
      this.#begin(task);
    });
  }

  send(task: Task): void {
    clearTimeout(this.#timer);
    this.#task = task;
    this.#begin(task);
  }

  /** Ends the connection; the exchange under way gets what came, then the error. */
  fail(error: Error): void {
    const task = this.#task;
    this.#handOn();
    this.#end();
    task?.exchange.onResponseError(undefined, error);
  }

  #closed(): void {
    const task = this.#task;
    // Part of a head may be what no head begins with.
    if (task !== undefined && this.#left === undefined && this.#headUsed > 0) this.#giveUp(task);
    else this.fail(new errors.SocketError('other side closed'));
  }

  /** The answer is for undici to judge. */
  #giveUp(task: Task): void {
    const text = this.#head.toString('latin1', 0, this.#headUsed);
    const status = /^HTTP\/1\.[01] ([1-5][0-9]{2})(?: |\r)/.exec(text)?.[1];
    const { address } = this.#endpoint;
    this.#client.unfit(task, { address, status: status === undefined ? undefined : Number(status) });
    this.#end();
  }

  /** Of this task alone: its exchange may still have it when the next one is under way. */
  #controllerOf(task: Task): Dispatcher.DispatchController {
    const isOwn = (): boolean => this.#task === task;
    const isPaused = (): boolean => isOwn() && this.#paused;
    return {
      get paused() {
        return isPaused();
      },
      get aborted() {
        return !isOwn();
      },
      reason: null,
      pause: () => {
        if (isOwn()) this.#pause();
      },
      resume: () => {
        if (isPaused()) this.#resume();
      },
      abort: () => {
        if (isOwn()) this.#end();
      },
    };
  }

  #pause(): void {
    this.#paused = true;
    this.#socket?.pause();
  }

  #resume(): void {
    this.#paused = false;
    this.#lastByte = performance.now();
    this.#socket?.resume();
  }

  #begin(task: Task): void {
    const { request, exchange } = task;
    exchange.endpoint = this.#endpoint;
    this.#controller = this.#controllerOf(task);
    exchange.onRequestStart(this.#controller);
    // It was aborted while it waited.
    if (this.#ended) return;
    const fields = Object.entries(request.headers).map(([name, value]) => `${name}: ${value}\r\n`);
    const { host } = this.#client.options.origin;
    this.#socket?.write(`GET ${request.path} HTTP/1.1\r\nhost: ${host}\r\n${fields.join('')}\r\n`, 'latin1');
    this.#limit(request.headersTimeout, () => this.fail(new errors.HeadersTimeoutError()));
  }

  #limit(ms: number, late: () => void): void {
    clearTimeout(this.#timer);
    if (ms > 0) this.#timer = setTimeout(late, ms);
  }

  #limitPause(timeoutMs: number): void {
    this.#limit(timeoutMs - (performance.now() - this.#lastByte), () => {
      if (this.#paused) this.#lastByte = performance.now();
      if (performance.now() - this.#lastByte < timeoutMs) this.#limitPause(timeoutMs);
      else this.fail(new errors.BodyTimeoutError());
    });
  }

  /** Where the next bytes go. One more than the body has, so that what follows it is seen. */
  #room(): Uint8Array {
    if (this.#left === undefined) return this.#head.subarray(this.#headUsed);
    this.#block ??= takeBuffer(blockSize);
    return this.#block.subarray(this.#used, Math.min(this.#block.byteLength, this.#used + this.#left + 1));
  }

  /** @returns false to read no more for now */
  #received(bytes: number): boolean {
    if (this.#ended) return false;
    const task = this.#task;
    // Nobody asked.
    if (task === undefined) this.#end();
    else if (this.#left === undefined) this.#readHead(task, bytes);
    else this.#readBody(task, this.#left, bytes);
    return !this.#paused && !this.#ended;
  }

  #readHead(task: Task, bytes: number): void {
    this.#headUsed += bytes;
    const seen = this.#head.subarray(0, this.#headUsed);
    const end = seen.indexOf('\r\n\r\n');
    if (end < 0 && this.#headUsed < maxHead) return;
    const head = end < 0 ? undefined : parsePlainHead(seen.toString('latin1', 0, end));
    if (head === undefined) {
      this.#giveUp(task);
      return;
    }
    this.#headUsed = 0;
    this.#left = head.length;
    this.#keepMs = head.keepMs;
    this.#handedOn = this.#lastByte = performance.now();
    this.#limitPause(task.request.bodyTimeout);
    if (this.#controller !== undefined) {
      task.exchange.onResponseStart(this.#controller, head.status, head.headers);
    }
    if (this.#ended) return;
    const rest = seen.subarray(end + 4);
    const own = rest.subarray(0, head.length);
    this.#room();
    this.#block?.set(own);
    if (rest.byteLength > 0 || head.length === 0) this.#readBody(task, head.length, rest.byteLength);
  }

  #readBody(task: Task, left: number, bytes: number): void {
    const now = performance.now();
    const body = Math.min(left, bytes);
    this.#lastByte = now;
    this.#used += body;
    this.#left = left - body;
    if (this.#left === 0) this.#finish(task, bytes > body);
    else if (
      this.#used > (this.#block?.byteLength ?? 0) - leastRoom ||
      now - this.#handedOn > handOnAfterMs
    ) {
      this.#handOn();
    }
  }

  /** @param hasSurplus more came than the body: this connection is not to be believed any more */
  #finish(task: Task, hasSurplus: boolean): void {
    clearTimeout(this.#timer);
    this.#handOn();
    if (this.#ended) return;
    this.#task = undefined;
    this.#left = undefined;
    if (this.#block !== undefined) giveBuffer(this.#block);
    this.#block = undefined;
    if (hasSurplus || this.#keepMs <= 0) this.#end();
    task.exchange.onResponseEnd();
    if (this.#ended) return;
    if (this.#paused) this.#resume();
    this.#limit(this.#keepMs, () => this.#end());
    // What follows the body at once is read, and ends the connection, before the next request goes out.
    setImmediate(() => {
      if (!this.#ended) this.#client.idle(this);
    });
  }

  /** Gives the consumer what is in the block. */
  #handOn(): void {
    const block = this.#block;
    if (block === undefined || this.#used === 0) return;
    const bytes = block.subarray(0, this.#used);
    this.#used = 0;
    this.#handedOn = performance.now();
    let chunk = bytes;
    if (bytes.byteLength < smallChunk) {
      chunk = Buffer.from(bytes);
    } else {
      this.#block = undefined;
      markLent(chunk, () => giveBuffer(block));
    }
    if (this.#controller !== undefined) this.#task?.exchange.onResponseData(this.#controller, chunk);
  }

  #end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#task = undefined;
    this.#left = undefined;
    // The socket may still hold it: it is left to the garbage collector.
    this.#block = undefined;
    clearTimeout(this.#timer);
    this.#socket?.destroy();
    this.#client.ended(this);
  }
}

interface PlainHead {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[]>>;
  /** Bytes. */
  readonly length: number;
  readonly keepMs: number;
}

const statusLine = /^HTTP\/1\.1 (200|206)(?: [\t\x20-\x7e\x80-\xff]*)?$/;
const field = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[\t ]*((?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)$/;
/** What makes a body something other than so many bytes. */
const notPlain: ReadonlySet<string> = new Set([
  'transfer-encoding',
  'content-encoding',
  'trailer',
  'upgrade',
]);

/** @returns undefined for what is for undici to judge */
function parsePlainHead(text: string): PlainHead | undefined {
  const [first = '', ...lines] = text.split('\r\n');
  const status = statusLine.exec(first)?.[1];
  if (status === undefined) return undefined;
  const headers: Record<string, string | string[]> = Object.create(null) as Record<string, string>;
  for (const line of lines) {
    const [, name = '', value = ''] = field.exec(line) ?? [];
    const key = name.toLowerCase();
    if (key === '' || notPlain.has(key)) return undefined;
    const before = headers[key];
    headers[key] = before === undefined ? value : [before, value].flat();
  }
  const length = headers['content-length'];
  if (typeof length !== 'string' || !/^[0-9]{1,15}$/.test(length)) return undefined;
  return { status: Number(status), headers, length: Number(length), keepMs: keepMsOf(headers) };
}

function keepMsOf(headers: PlainHead['headers']): number {
  if (/(?:^|,)\s*close\s*(?:,|$)/i.test(String(headers['connection'] ?? ''))) return 0;
  const hint = /(?:^|[,\s])timeout=([0-9]{1,6})/i.exec(String(headers['keep-alive'] ?? ''))?.[1];
  return hint === undefined ? keepAliveMs : Math.min(keepAliveMs, Number(hint) * 1000 - 1000);
}

/** Whether nothing in it could be taken for another line. What is not is for undici to refuse. */
function isSendable({ path, headers }: BlockRequest): boolean {
  return (
    /^\/[\x21-\x7e]*$/.test(path) &&
    Object.entries(headers).every(([name, value]) => field.test(`${name}:${value}`))
  );
}
