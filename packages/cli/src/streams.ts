/**
 * The standard streams of this process. Whatever becomes of the file, pipe or terminal behind them, the work goes on:
 * a line of a log that cannot be written is lost, and a result that cannot be written is told at the end.
 */
import { fstatSync, writeSync } from 'node:fs';
import { systemCodeOf } from '@omni-airgap/oci/base';
import type { Output } from './session.ts';

type Stream = NodeJS.WriteStream & { readonly fd: number };
type Written = (error?: Error | null) => void;
type Write = (text: string, written: Written) => void;

/** Bytes of messages that wait for their reader; what is more is lost. */
const maxUnreadBytes = 1024 * 1024;

/** The standard output and the standard error. Neither ever throws. */
export function standardOutput(): Output {
  const writeOut = writerOf(process.stdout);
  const writeErr = writerOf(process.stderr);
  const pending = new Set<Promise<void>>();
  let lost: Error | undefined;
  const stdout = (text: string): void => {
    const writing = new Promise<void>((resolve) => {
      writeOut(text, (error) => {
        // A reader that stops early, as `head` does, has what it wanted.
        if (error instanceof Error && systemCodeOf(error) !== 'EPIPE') lost ??= error;
        resolve();
      });
    });
    pending.add(writing);
    void writing.then(() => pending.delete(writing));
  };
  return {
    stdout,
    notice: (text) => writeOut(text, () => {}),
    // Of a reader that has stopped reading: a log must not fill the memory.
    stderr: (text) => {
      if (process.stderr.writableLength < maxUnreadBytes) writeErr(text, () => {});
    },
    isTerminal: process.stderr.isTTY === true,
    async lost() {
      await Promise.all(pending);
      if (lost === undefined) return undefined;
      // Loaded here: the help of the program needs nothing else of it.
      const { diskError } = await import('@omni-airgap/oci/fs');
      return diskError(lost, 'standard output');
    },
  };
}

/**
 * Files and devices are written directly: a stream of Node.js leaves out the rest of what a disk took in part, and
 * takes nothing more after an error, although the next line may fit again.
 */
function writerOf(stream: Stream): Write {
  if (isFile(stream)) {
    return (text, written) => {
      try {
        const bytes = Buffer.from(text);
        for (let done = 0; done < bytes.byteLength; ) done += writeSync(stream.fd, bytes, done);
        written();
      } catch (error) {
        written(error as Error);
      }
    };
  }
  let broken: Error | undefined;
  stream.on('error', (error: Error) => {
    broken ??= error;
  });
  return (text, written) => {
    // Once it is broken, only the first error tells why.
    stream.write(text, (error) => written(error && (broken ?? error)));
  };
}

function isFile({ fd, isTTY }: Stream): boolean {
  try {
    const info = fstatSync(fd);
    return info.isFile() || (info.isCharacterDevice() && !isTTY);
  } catch {
    return false;
  }
}
