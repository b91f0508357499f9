/** What several benchmarks set up alike: registries, flags of the command, files flushed before a run. */
import { rmSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Registry, startRegistry } from '../../../test/services/docker-registry.ts';
import { type Content, host, tag } from './content.ts';
import { measure } from './measure.ts';

export const floor = fileURLToPath(new URL('./floor.ts', import.meta.url));

/** Removes the folders and lets the disk finish, so that a run does not pay for what was before it. */
export async function clear(folder: string, ...removed: readonly string[]): Promise<void> {
  for (const path of removed) rmSync(path, { recursive: true, force: true });
  await measure('sync', ['-f', folder]);
}

/** Runs `work` with an empty registry of its own. */
export async function withRegistry<T>(work: (registry: Registry) => Promise<T>): Promise<T> {
  const registry = await startRegistry();
  try {
    return await work(registry);
  } finally {
    await registry.stop();
  }
}

/** The arguments of a fetch of all images. @param upstream where they are, as a URL */
export async function fetchArguments(
  folder: string,
  store: string,
  content: Content,
  upstream: string,
  ...more: readonly string[]
): Promise<readonly string[]> {
  const config = join(folder, 'mirror.yaml');
  const names = content.images.map(({ name }) => `${host}/${name}:${tag}`);
  await writeFile(config, `apiVersion: omni-airgap/v1\nimages: ${JSON.stringify(names)}\n`);
  return ['fetch', '--config', config, '--store', store, '--upstream', `${host}=${upstream}`, ...more];
}

/** The arguments of a load of a bundle. @param registry `127.0.0.1:PORT` */
export function loadArguments(folder: string, media: string, registry: string): readonly string[] {
  return [
    'load',
    ...['--bundle', media, '--allow-unsigned', '--allow-rollback'],
    ...['--registry', registry, '--plain-http', registry],
    ...['--state', join(folder, 'state'), '--handoff', join(folder, 'handoff')],
  ];
}

/** The arguments of a bundle of the whole store. */
export function bundleArguments(store: string, out: string): readonly string[] {
  return ['bundle', '--store', store, '--out', out, '--unsigned'];
}
