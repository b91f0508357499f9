/** Turns what the operating system says about a file into one line that says what to do. */
import { CodedError, isCoded, messageOf, systemCodeOf } from '../base/errors.ts';

const damaged =
  'the file system is damaged; unmount and repair it (fsck -f), then run the same command again';

const advice: ReadonlyMap<string, string> = new Map([
  ['ENOSPC', 'no space left on this disk; free some and run the same command again'],
  ['EDQUOT', 'disk quota reached; raise it and run the same command again'],
  [
    'EROFS',
    'the file system is read-only; if its device failed, plug that in again and repair it (fsck), or else use another place, and run the same command again',
  ],
  ['EACCES', 'permission denied'],
  ['EPERM', 'not permitted'],
  [
    'EIO',
    'the device reports an input/output error; plug it in again or use another, and run the same command again',
  ],
  ['ENXIO', 'the device is gone; plug it in again and run the same command again'],
  ['ENODEV', 'the device is gone; plug it in again and run the same command again'],
  // EBADMSG and EUCLEAN of Linux, for which Node.js has no names: a checksum or a structure on the disk is wrong.
  ['Unknown system error -74', damaged],
  ['Unknown system error -117', damaged],
  ['EFBIG', 'the file system does not take files of this size; use a smaller --volume-size'],
  ['EMFILE', 'too many open files; lower --concurrency or raise ulimit -n'],
  ['ELOOP', 'a symbolic link stands where a real file or folder must be'],
  ['ENOENT', 'no such file or folder'],
  ['ENOTDIR', 'a file stands where a folder must be'],
]);

/** A CodedError DISK about `path`; CodedErrors pass unchanged, so it can wrap whole operations. */
export function diskError(error: unknown, path: string): CodedError {
  if (isCoded(error)) return error;
  const code = systemCodeOf(error);
  const why = (code === undefined ? undefined : advice.get(code)) ?? messageOf(error);
  return new CodedError('DISK', `${path}: ${why}`, { cause: error });
}

/** Calls of the system about connections; their errors are none of a disk. */
const networkCalls = new Set(['accept', 'bind', 'connect', 'getaddrinfo', 'listen', 'shutdown']);

/**
 * An error of the operating system that nothing has put into words yet, as a CodedError: DISK with the advice of its
 * cause, or NETWORK. Anything else comes back as it is.
 */
export function systemError(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  const { errno, syscall, path } = error as NodeJS.ErrnoException;
  if (typeof errno !== 'number' || typeof syscall !== 'string') return error;
  if (networkCalls.has(syscall) || (path === undefined && systemCodeOf(error)?.startsWith('ECONN') === true))
    return new CodedError('NETWORK', error.message, { cause: error });
  return diskError(error, path ?? syscall);
}
