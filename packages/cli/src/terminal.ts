/** Questions on a terminal: prompts go to the standard error, so that the standard output holds the report alone. */
import { createInterface } from 'node:readline/promises';
import { Writable } from 'node:stream';
import { CodedError } from '@omni-airgap/oci/base';

type Ask = (question: string, options?: { readonly isSecret?: boolean }) => Promise<string>;

/**
 * Runs with a way to ask, where a person can answer.
 * @param signal ends a question that is waiting
 */
export async function withTerminal<T>(
  signal: AbortSignal,
  run: (ask: Ask | undefined) => Promise<T>,
): Promise<T> {
  const { stdin, stderr } = process;
  if (stdin.isTTY !== true || stderr.isTTY !== true) return run(undefined);
  let isSecret = false;
  const echo = new Writable({
    write(chunk, _encoding, written) {
      if (!isSecret) stderr.write(chunk);
      written();
    },
  });
  const lines = createInterface({ input: stdin, output: echo, terminal: true, historySize: 0 });
  const ended = new AbortController();
  // In its raw mode a terminal sends no signal for Ctrl-C.
  lines.on('SIGINT', () => process.emit('SIGINT'));
  lines.on('close', () => ended.abort());
  try {
    return await run(async (question, options = {}) => {
      stderr.write(`${question}: `);
      isSecret = options.isSecret === true;
      try {
        return (await lines.question('', { signal: AbortSignal.any([signal, ended.signal]) })).trim();
      } catch (cause) {
        if (signal.aborted) throw cause;
        throw new CodedError('USAGE', 'the input ended before all questions were answered', { cause });
      } finally {
        if (isSecret) stderr.write('\n');
        isSecret = false;
      }
    });
  } finally {
    lines.close();
  }
}
