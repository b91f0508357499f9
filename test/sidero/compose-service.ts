/**
 * A service of the hand-off's compose.yaml as a plain process: its command and configuration with the files where they
 * really are, and its variables filled in from the file that `site init --pki` makes.
 */
import { mkdirSync, readFileSync } from 'node:fs';
import { isAbsolute, join } from 'node:path';
import { documents } from '../../packages/talos/test/documents.ts';

interface ComposeFile {
  readonly services: Readonly<
    Record<string, { readonly command: readonly string[]; readonly volumes: readonly string[] }>
  >;
}

export interface ComposeService {
  readonly command: readonly string[];
  /** Where a path of the container is on this machine. @throws when nothing is mounted there */
  placeOf(path: string): string;
  /** Text with each mounted path in place of the container's. */
  placed(text: string): string;
}

/**
 * @param folder where it runs: its named volumes are made there, at the paths of the container
 * @param variables a file of `NAME=value` lines
 */
export function composeService(
  handoff: string,
  name: string,
  folder: string,
  variables?: string,
): ComposeService {
  const [file] = documents(readFileSync(join(handoff, 'compose.yaml'), 'utf8')) as [ComposeFile];
  const service = file.services[name];
  if (service === undefined) throw new Error(`compose.yaml has no service ${name}`);
  const mounts = new Map(
    service.volumes.map((volume) => {
      const [source = '', target = ''] = volume.split(':');
      if (isAbsolute(source)) return [target, source];
      if (source.startsWith('.')) return [target, join(handoff, source)];
      mkdirSync(join(folder, target), { recursive: true });
      return [target, join(folder, target)];
    }),
  );
  // The longest first: one path may begin with another.
  const targets = [...mounts.keys()].sort((a, b) => b.length - a.length);
  const placed = (text: string): string =>
    targets.reduce((before, target) => before.replaceAll(target, mounts.get(target) ?? ''), text);
  const values = variables === undefined ? new Map<string, string>() : variablesOf(variables);
  const filled = (text: string): string =>
    text.replaceAll(/\$\{([A-Z0-9_]+)[^}]*\}/g, (whole, key: string) => values.get(key) ?? whole);
  return {
    command: service.command.map((argument) => filled(placed(argument))),
    placeOf(path) {
      const place = mounts.get(path);
      if (place === undefined) throw new Error(`${name} has nothing at ${path}`);
      return place;
    },
    placed,
  };
}

/** Values in single quotes are taken as they are. */
function variablesOf(file: string): ReadonlyMap<string, string> {
  const lines = readFileSync(file, 'utf8').split('\n');
  return new Map(
    lines.flatMap((line) => {
      const [, key, value = ''] = /^([A-Z0-9_]+)=(.*)$/.exec(line) ?? [];
      return key === undefined ? [] : [[key, value.replace(/^'(.*)'$/, '$1')] as const];
    }),
  );
}
