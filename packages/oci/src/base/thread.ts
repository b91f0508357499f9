/**
 * A thread of its own for work that would hold up the sending and receiving. It starts with the first question, keeps
 * the process alive only while it owes an answer, and starts again when it was lost.
 */
import type { Worker } from 'node:worker_threads';
import { CodedError } from './errors.ts';

interface Waiting<Reply> {
  readonly done: (reply: Reply) => void;
  readonly failed: (error: Error) => void;
}

/** Questions to a worker, answered in their order. */
export class Thread<Message, Reply> {
  readonly #start: () => Worker;
  /** Names it in errors: `the thread that hashes`. */
  readonly #what: string;
  #worker: Worker | undefined;
  /** Replies come in the order of the messages. */
  readonly #waiting: Waiting<Reply>[] = [];

  /** @param start makes a worker that answers each message with one reply, in order */
  constructor(what: string, start: () => Worker) {
    this.#what = what;
    this.#start = start;
  }

  /** Messages that are not answered yet. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /** @throws INTERNAL when the thread cannot start, or ends before it has answered */
  ask(message: Message): Promise<Reply> {
    return new Promise((done, failed) => {
      const worker = this.#running();
      worker.postMessage(message);
      if (this.#waiting.push({ done, failed }) === 1) worker.ref();
    });
  }

  #running(): Worker {
    if (this.#worker !== undefined) return this.#worker;
    const started = this.#start();
    started.on('message', (reply: Reply) => {
      const answered = this.#waiting.shift();
      if (this.#waiting.length === 0) started.unref();
      answered?.done(reply);
    });
    const lost = (cause: unknown): void => {
      if (this.#worker !== started) return;
      this.#worker = undefined;
      const error = new CodedError('INTERNAL', `${this.#what} has ended`, { cause });
      for (const { failed } of this.#waiting.splice(0)) failed(error);
    };
    started.on('error', lost);
    started.on('exit', lost);
    this.#worker = started;
    return started;
  }
}
