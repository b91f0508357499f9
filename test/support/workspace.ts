/** A folder for one story: its mirror.yaml, store, media and keys, and the flags that name them. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { temporaryFolder } from '../services/temporary.ts';
import { cliJson } from './cli.ts';

export interface Workspace {
  readonly root: string;
  /** A path below it. */
  at(...names: string[]): string;
  /** Writes a file below it. @returns its path */
  write(name: string, text: string): string;
  /** `--config … --store …` */
  readonly store: readonly string[];
  /** `--bundle … --verify-key …` */
  readonly media: readonly string[];
  /** `--store … --out … --sign-key …` */
  readonly bundle: readonly string[];
}

/**
 * @param mirror what follows the apiVersion of its mirror.yaml; makes a key pair unless it is left out
 * @param root an empty or missing folder; a temporary one of this process by default
 */
export async function workspace(mirror?: string, root = temporaryFolder('site')): Promise<Workspace> {
  const at = (...names: string[]): string => join(root, ...names);
  const write = (name: string, text: string): string => {
    mkdirSync(join(at(name), '..'), { recursive: true });
    writeFileSync(at(name), text);
    return at(name);
  };
  if (mirror !== undefined) {
    write('mirror.yaml', `apiVersion: omni-airgap/v1\n${mirror}`);
    await cliJson(['keygen', '--out', at('site')]);
  }
  return {
    root,
    at,
    write,
    store: ['--config', at('mirror.yaml'), '--store', at('store')],
    media: ['--bundle', at('media'), '--verify-key', at('site.pub')],
    bundle: ['--store', at('store'), '--out', at('media'), '--sign-key', at('site.key')],
  };
}

/** `--upstream HOST=URL` for each. */
export function upstreamFlags(urls: Readonly<Record<string, string>>): readonly string[] {
  return Object.entries(urls).flatMap(([host, url]) => ['--upstream', `${host}=${url}`]);
}
