/** Programs of the system that a service needs: is there each, and which Debian package brings what is missing. */
import { accessSync, constants, existsSync, readFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';

/** command -> Debian package, from the list that scripts/test installs. */
const debianPackages: ReadonlyMap<string, string> = new Map(
  readFileSync(join(import.meta.dirname, 'debian-packages.txt'), 'utf8')
    .trim()
    .split('\n')
    .map((line) => line.split(' ') as [string, string]),
);

/** A program that a service needs is not installed. */
export class MissingService extends Error {
  constructor(commands: readonly string[]) {
    const packages = commands.map((command) => debianPackages.get(command));
    super(`not installed: ${packages.join(', ')} (Debian packages)`);
    this.name = 'MissingService';
  }
}

/**
 * @throws MissingService naming all that are missing on PATH; an Error for a command that the list does not name,
 * also where it is installed: on a new machine nothing would bring it
 */
export function requireCommands(...commands: string[]): void {
  const unlisted = commands.find((command) => !debianPackages.has(command));
  if (unlisted !== undefined) throw new Error(`${unlisted} is not in debian-packages.txt`);
  const missing = commands.filter((command) => !isInstalled(command));
  if (missing.length > 0) throw new MissingService(missing);
}

/** @param command name on PATH, or the path of a file */
function isInstalled(command: string): boolean {
  if (command.startsWith('/')) return existsSync(command);
  return (process.env['PATH'] ?? '').split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, command), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}
