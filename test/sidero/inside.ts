/**
 * The inside of a site for programs that listen on fixed ports: a network namespace of their own where every name below
 * `site` is 127.0.0.1, and where it is written down whom else they try to reach.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { nodeFlags } from '../../scripts/lib/node-flags.ts';
import { command } from '../services/command.ts';
import { type ServerProcess, startProcess } from '../services/server-process.ts';
import { remove, temporaryFolder } from '../services/temporary.ts';
import { namespaceCommands, watchedNamespace } from '../support/watched-namespace.ts';

const nameServerFile = fileURLToPath(new URL('./name-server.ts', import.meta.url));

export const insideCommands: readonly string[] = [...namespaceCommands, 'curl', 'mount'];

export interface Answer {
  readonly status: number;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
}

export interface Question {
  readonly method?: 'GET' | 'HEAD' | 'POST' | 'PUT';
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array;
  /** Path of the authority to trust. */
  readonly ca?: string;
}

export interface Inside {
  /** What a command begins with to run inside. */
  readonly enter: readonly string[];
  ask(url: string, question?: Question): Promise<Answer>;
  /** A server inside; its output goes into a file of `folder`. */
  start(
    name: string,
    run: readonly [string, ...string[]],
    options: { readonly folder: string; readonly env?: Readonly<Record<string, string>> },
  ): ServerProcess;
  /** What anybody inside tried to reach besides: `tcp 10.0.0.1:443`, and names that are not the site's. */
  strangers(): Promise<readonly string[]>;
  close(): Promise<void>;
}

export async function openInside(): Promise<Inside> {
  const namespace = await watchedNamespace();
  if (namespace === undefined) throw new Error('network namespaces cannot be made here');
  const folder = temporaryFolder('inside');
  const resolver = join(folder, 'resolv.conf');
  const unknownNames = join(folder, 'names');
  writeFileSync(resolver, 'nameserver 127.0.0.1\n');
  // ip netns exec has made a mount namespace already.
  const enter = [...namespace.enter, 'sh', '-c', 'mount --bind "$0" /etc/resolv.conf && exec "$@"', resolver];
  const [program = '', ...rest] = [...enter, process.execPath, ...nodeFlags, nameServerFile, unknownNames];
  const nameServer = startProcess([program, ...rest], join(folder, 'name-server.log'));
  await nameServer.until(() => (existsSync(unknownNames) ? true : undefined), 30_000);
  let asked = 0;
  return {
    enter,
    async ask(url, { method = 'GET', headers = {}, body, ca } = {}) {
      const file = (name: string): string => join(folder, `${asked}-${name}`);
      asked += 1;
      const [headFile, bodyFile, sentFile] = [file('head'), file('body'), file('sent')];
      if (body !== undefined) writeFileSync(sentFile, body);
      const [program = '', ...rest] = [
        ...[...enter, 'curl', '--silent', '--show-error', '--max-time', '60', '--noproxy', '*'],
        ...(method === 'HEAD' ? ['--head'] : ['--request', method]),
        ...Object.entries(headers).flatMap(([name, value]) => ['--header', `${name}: ${value}`]),
        ...(body === undefined ? [] : ['--data-binary', `@${sentFile}`]),
        ...(ca === undefined ? [] : ['--cacert', ca]),
        ...['--dump-header', headFile, '--output', bodyFile, '--write-out', '%{http_code}', url],
      ];
      const status = Number(await command(program, rest));
      const lines = readFileSync(headFile, 'latin1').trim().split('\r\n');
      return {
        status,
        headers: Object.fromEntries(
          lines.slice(1).map((line) => {
            const [name = '', ...value] = line.split(': ');
            return [name.toLowerCase(), value.join(': ')];
          }),
        ),
        body: method === 'HEAD' ? Buffer.alloc(0) : readFileSync(bodyFile),
      };
    },
    start(name, run, { folder: own, env = {} }) {
      const variables = Object.entries(env).map(([key, value]) => `${key}=${value}`);
      const [first = '', ...others] = [...enter, 'env', '--chdir', own, ...variables, ...run];
      return startProcess([first, ...others], join(own, `${name}.log`));
    },
    async strangers() {
      const contacted = (await namespace.contacted()).filter((one) => !/ (?:127\.|::1)/.test(one));
      const names = readFileSync(unknownNames, 'utf8').split('\n').filter(Boolean);
      return [...contacted, ...new Set(names)];
    },
    async close() {
      await nameServer.stop();
      remove(folder);
      await namespace.close();
    },
  };
}
