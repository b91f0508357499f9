/** Faults as data: which request something happens to, and what. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';

/** What happens to which request. */
export interface Fault {
  readonly match: {
    /** Default any. */
    readonly method?: string;
    /** Tested against path and query. */
    readonly path: RegExp;
    /** Only the n-th request (from 1) that fits; default each. */
    readonly nth?: number;
  };
  readonly do: FaultAction;
  /** How often it happens; default always (once with `nth`). */
  readonly times?: number;
}

/** With `status` or `drop` the registry is not asked; otherwise its answer is spoilt on the way. */
export interface FaultAction {
  /** Answer this instead, with `headers` and `body`. */
  readonly status?: number;
  /** Added to the answer or replacing its own; an empty value removes one. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array;
  /** Close the connection without an answer. */
  readonly drop?: boolean;
  /** Do what is asked, then close the connection without an answer. */
  readonly loseAnswer?: boolean;
  /** Default true; false answers without reading the request's body. */
  readonly readBody?: boolean;
  /** Tear the connection down after this many bytes of the request's body. */
  readonly cutRequestAfter?: number;
  /** Wait before answering, ms. */
  readonly delayMs?: number;
  /** Wait before answering until it says true. */
  readonly until?: () => boolean;
  /** Tear the connection down after this many bytes of the answer's body. */
  readonly cutAfter?: number;
  /** Send nothing more after this many bytes, but keep the connection. */
  readonly stallAfter?: number;
  /** Invert the bits of the body's byte at this offset. */
  readonly flipByteAt?: number;
  /** No Content-Length: the end of the connection is the end of the body. */
  readonly closeDelimited?: boolean;
}

export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | Uint8Array;
}

export interface Faults {
  add(fault: Fault): void;
  /** What happens to this request; the first fault that fits counts. */
  take(method: string, path: string): FaultAction | undefined;
}

export function startFaults(script: readonly Fault[]): Faults {
  const active: { readonly fault: Fault; seen: number; left: number }[] = [];
  const add = (fault: Fault): void => {
    const { times = fault.match.nth === undefined ? Number.POSITIVE_INFINITY : 1 } = fault;
    active.push({ fault, seen: 0, left: times });
  };
  script.forEach(add);
  return {
    add,
    take(method, path) {
      let action: FaultAction | undefined;
      for (const entry of active) {
        const { match } = entry.fault;
        if ((match.method ?? method) !== method || !match.path.test(path)) continue;
        entry.seen++;
        if (action !== undefined || entry.left <= 0 || (match.nth ?? entry.seen) !== entry.seen) continue;
        entry.left--;
        action = entry.fault.do;
      }
      return action;
    },
  };
}

/** Sends an answer as a fault wants it; without one, as it is. */
export async function sendAnswer(
  request: IncomingMessage,
  response: ServerResponse,
  answer: Answer,
  fault: FaultAction = {},
): Promise<void> {
  if (fault.delayMs !== undefined) await delay(fault.delayMs);
  while (fault.until?.() === false) await delay(5);
  if (fault.drop === true || fault.loseAnswer === true) {
    request.socket.destroy();
    return;
  }
  const body = Buffer.from(fault.body ?? answer.body);
  if (fault.flipByteAt !== undefined) body[fault.flipByteAt] = ~(body[fault.flipByteAt] ?? 0);
  const headers: Record<string, string> = { 'content-length': String(body.byteLength) };
  for (const [name, value] of Object.entries({ ...answer.headers, ...fault.headers })) {
    if (value === '') delete headers[name];
    else headers[name] = value;
  }
  if (answer.status === 204 || fault.closeDelimited === true) delete headers['content-length'];
  if (fault.closeDelimited === true) {
    headers['connection'] = 'close';
    response.useChunkedEncodingByDefault = false;
  }
  response.writeHead(answer.status, headers);
  const stop = fault.cutAfter ?? fault.stallAfter;
  if (request.method === 'HEAD' || stop === undefined) {
    response.end(request.method === 'HEAD' ? undefined : body);
    return;
  }
  response.write(body.subarray(0, stop), () => {
    // A clean end of the connection where that is the body's only mark, a torn one else.
    if (fault.cutAfter !== undefined) fault.closeDelimited === true ? response.end() : response.destroy();
  });
}
