/**
 * The log of `serve`: one line for each request and each event, as logfmt: `key=value`, with quotes as in JSON where a value
 * needs them. A line that cannot be written is lost, and nothing else happens: see streams.ts.
 * Source: brandur.org/logfmt; what Go's log/slog TextHandler writes.
 */
import { printable } from '@omni-airgap/oci/base';
import type { AccessEntry } from '@omni-airgap/server';
import type { Output } from './session.ts';

type Level = 'info' | 'warn' | 'error';

export class ServeLog {
  readonly #output: Output;
  readonly #isQuiet: boolean;

  /** @param isQuiet only warnings and errors are written */
  constructor(output: Output, isQuiet: boolean) {
    this.#output = output;
    this.#isQuiet = isQuiet;
  }

  request({ time, remote, method, path, status, bytes, ms, requestId, user, error }: AccessEntry): void {
    const level = status >= 500 ? 'error' : 'info';
    if (this.#isQuiet) return;
    this.#write({
      ...{ time, level, event: 'request', client: remote, method, path, status, bytes, ms, id: requestId },
      ...{ user, error },
    });
  }

  /** @param event one word for programs @param message for people */
  event(level: Level, event: string, message: string): void {
    if (this.#isQuiet && level === 'info') return;
    this.#write({ time: new Date().toISOString(), level, event, message: printable(message, 2000) });
  }

  #write(values: Readonly<Record<string, string | number | undefined>>): void {
    const parts = Object.entries(values).flatMap(([key, value]) =>
      value === undefined ? [] : [`${key}=${logValue(String(value))}`],
    );
    this.#output.stderr(`${parts.join(' ')}\n`);
  }
}

/** Bare where that has one meaning: no space, quote, equals sign or backslash. */
function logValue(text: string): string {
  return /^[^\s"=\\\p{C}]+$/u.test(text) ? text : JSON.stringify(text);
}
