/**
 * Marks what belongs to a running process, in file names and lock files: nobody touches it while that process
 * runs, and anybody may take it over afterwards.
 */
import { randomBytes } from 'node:crypto';
import { systemCodeOf } from '../base/errors.ts';

/** In a container every run may have the same process id; the random part tells them apart. */
export const processMark: string = `${process.pid}-${randomBytes(4).toString('hex')}`;

/** What a mark looks like, for use inside a pattern; one group. */
export const markPattern = '([0-9]+-[a-f0-9]{8})';

/** True while the process that made the mark runs on this machine. */
export function isRunning(mark: string): boolean {
  const pid = Number.parseInt(mark, 10);
  if (pid === process.pid) return mark === processMark;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return systemCodeOf(error) === 'EPERM';
  }
}
