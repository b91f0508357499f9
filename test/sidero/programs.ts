/**
 * The programs of Sidero Labs that a site runs beside what was loaded. They are no Debian packages: the tests of one run
 * where it is found on PATH or in the folder that SIDERO_BIN names. Results: docs/sidero-compatibility.md.
 */
import { test } from 'vitest';
import { findProgram, versionOf } from '../services/found-program.ts';

/** What makes each print its version; image-factory has nothing for that. */
const programs = {
  'image-factory': undefined,
  omni: ['--version'],
  omnictl: ['--version'],
  talosctl: ['version', '--client'],
} as const;

type SideroProgram = keyof typeof programs;

/**
 * A group of tests that needs these programs and the commands of the system; where one of the former is missing, a skipped
 * test that says so.
 * @param around what else it needs: describeWith, or describeAsRoot for a network namespace
 * @param body given the path of each program
 */
export function describeSidero<Name extends SideroProgram>(
  names: readonly Name[],
  around: (commands: readonly string[], title: string, body: () => void) => void,
  commands: readonly string[],
  body: (paths: Readonly<Record<Name, string>>) => void,
): void {
  const found = names.map((name) => [name, findProgram(name, 'SIDERO_BIN')] as const);
  const missing = found.filter(([, path]) => path === undefined).map(([name]) => name);
  if (missing.length > 0) {
    const reason = `${missing.join(', ')} of Sidero Labs: neither on PATH nor in the folder SIDERO_BIN`;
    test(names.join(', '), ({ skip }) => skip(reason));
    return;
  }
  const versions = found.map(([name, path = '']) => {
    const flags = programs[name];
    return `${name} ${flags === undefined ? '' : versionOf(path, ...flags)}`.trim();
  });
  const paths = Object.fromEntries(found) as Readonly<Record<Name, string>>;
  around(commands, versions.join(', '), () => body(paths));
}
