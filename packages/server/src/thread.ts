/**
 * A thread of its own for work that would hold up the sending. It starts with the first question, keeps no process
 * alive, and starts again when it was lost.
 */
import type { Worker } from 'node:worker_threads';
import { CodedError } from '@omni-airgap/oci/base';

interface Waiting<Reply> {
  readonly done: (reply: Reply) => void;
  readonly failed: (error: Error) => void;
}

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

  /** @throws INTERNAL when the thread ends before it has answered */
  ask(message: Message): Promise<Reply> {
    return new Promise((done, failed) => {
      const worker = this.#running();
      this.#waiting.push({ done, failed });
      worker.postMessage(message);
    });
  }

  #running(): Worker {
    if (this.#worker !== undefined) return this.#worker;
    const started = this.#start();
    started.on('message', (reply: Reply) => this.#waiting.shift()?.done(reply));
    const lost = (cause: unknown): void => {
      if (this.#worker !== started) return;
      this.#worker = undefined;
      const error = new CodedError('INTERNAL', `${this.#what} has ended`, { cause });
      for (const { failed } of this.#waiting.splice(0)) failed(error);
    };
    started.on('error', lost);
    started.on('exit', lost);
    // Last: a listener for messages keeps the process alive again.
    started.unref();
    this.#worker = started;
    return started;
  }
}
