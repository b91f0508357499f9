/** The registries of the suite, each started as a site without special wishes would. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Registry, startRegistry } from '../services/docker-registry.ts';
import { temporaryFolder } from '../services/temporary.ts';
import { startServe } from '../support/cli.ts';
import { type Program, startServer } from './program.ts';

export interface RegistryProgram extends Program {
  start(path: string): Promise<Pick<Registry, 'host' | 'url' | 'stop'>>;
}

export const registries: readonly RegistryProgram[] = [
  {
    name: 'omni-airgap serve --writable',
    command: join(import.meta.dirname, '..', '..', 'scripts', 'omni-airgap'),
    inCi: true,
    async start() {
      const { host, stop } = await startServe(['--writable', temporaryFolder('registry')]);
      return { host, url: `http://${host}`, stop: async () => void (await stop()) };
    },
  },
  {
    name: 'Distribution 2.8',
    command: 'docker-registry',
    inCi: true,
    versionFlag: '--version',
    start: () => startRegistry(),
  },
  {
    name: 'Distribution 3',
    command: 'distribution3',
    versionFlag: '--version',
    start: (program) => startRegistry({ program }),
  },
  {
    name: 'zot with docker2s2',
    command: 'zot',
    start: (program) =>
      startServer('zot', (folder, port) => {
        const configuration = {
          distSpecVersion: '1.1.1',
          storage: { rootDirectory: join(folder, 'data') },
          http: { address: '127.0.0.1', port: String(port), compat: ['docker2s2'] },
          log: { level: 'info' },
        };
        const file = join(folder, 'config.json');
        writeFileSync(file, JSON.stringify(configuration));
        return [program, 'serve', file];
      }),
  },
  {
    name: 'olareg',
    command: 'olareg',
    start: (program) =>
      startServer('olareg', (folder, port) => [
        ...([program, 'serve', '--addr', '127.0.0.1', '--port', String(port)] as const),
        ...['--dir', join(folder, 'data'), '--api-delete', '--api-blob-delete'],
      ]),
  },
];
