/** Turns what the operating system says about a file into one line that says what to do. */
import { CodedError, isCoded, messageOf, systemCodeOf } from '../errors.ts';

const advice: Readonly<Record<string, string>> = {
  ENOSPC: 'no space left on this disk; free some and run the same command again',
  EDQUOT: 'disk quota reached; raise it and run the same command again',
  EROFS: 'the file system is read-only',
  EACCES: 'permission denied',
  EPERM: 'not permitted',
  EIO: 'the device reports an input/output error; check the medium',
  ENXIO: 'the device is gone',
  ENODEV: 'the device is gone',
  EFBIG: 'the file system does not take files of this size; use a smaller --volume-size',
  EMFILE: 'too many open files; lower --concurrency or raise ulimit -n',
  ELOOP: 'a symbolic link stands where a real file or folder must be',
  ENOTDIR: 'a file stands where a folder must be',
};

/** A CodedError DISK about `path`; CodedErrors pass unchanged, so it can wrap whole operations. */
export function diskError(error: unknown, path: string): CodedError {
  if (isCoded(error)) return error;
  const code = systemCodeOf(error);
  const why = (code === undefined ? undefined : advice[code]) ?? messageOf(error);
  return new CodedError('DISK', `${path}: ${why}`, { cause: error });
}
