/** Images as skopeo, a client that is not ours, sees them: with all platforms, every blob checked. */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { command } from '../services/command.ts';
import { remove, temporaryFolder } from '../services/temporary.ts';
import type { Login } from '../services/token-server.ts';

export interface CopiedImage {
  /** Of what the name stands for. */
  readonly digest: string;
  /** Digests of everything below it, sorted. */
  readonly content: readonly string[];
}

/**
 * Copies an image with all its platforms out of a registry or layout.
 * @param source in skopeo's words: `docker://127.0.0.1:5000/debian/tools:v1`, `oci:DIR:NAME`
 * @throws when something of it is missing
 */
export async function copyAll(source: string, login?: Login): Promise<CopiedImage> {
  const folder = temporaryFolder('skopeo');
  const target = join(folder, 'image');
  const credentials = login === undefined ? [] : ['--src-creds', `${login.user}:${login.password}`];
  const flags = ['--insecure-policy', 'copy', '--quiet', '--all', '--preserve-digests'];
  await command('skopeo', [...flags, '--src-tls-verify=false', ...credentials, source, `dir:${target}`]);
  const digestOf = (name: string): string =>
    `sha256:${createHash('sha256')
      .update(readFileSync(join(target, name)))
      .digest('hex')}`;
  const content = readdirSync(target).filter((name) => name !== 'version');
  const copied = { digest: digestOf('manifest.json'), content: content.map(digestOf).sort() };
  remove(folder);
  return copied;
}
