/** Who runs the command, for the records that others read. */
import { hostname, userInfo } from 'node:os';

/** `user@machine`; in a container without a name for the user, the number. */
export function account(): string {
  try {
    return `${userInfo().username}@${hostname()}`;
  } catch {
    return `${process.getuid?.() ?? 'somebody'}@${hostname()}`;
  }
}
