/** haproxy in the foreground, with a configuration that the test writes. */
import { writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { requireCommands } from './require.ts';
import { startProcess } from './server-process.ts';
import { remove, temporaryFolder } from './temporary.ts';

export interface Haproxy {
  readonly pid: number;
  /** A line for its runtime API. @returns the answer */
  ask(line: string): Promise<string>;
  stop(): Promise<void>;
}

/**
 * @param configuration given the path of the socket of its runtime API
 * @param isReady asked until it says so
 * @throws MissingService without haproxy
 */
export async function startHaproxy(
  configuration: (socket: string) => string,
  isReady: () => Promise<boolean>,
): Promise<Haproxy> {
  requireCommands('haproxy');
  const folder = temporaryFolder('haproxy');
  const at = (name: string): string => join(folder, name);
  writeFileSync(at('haproxy.cfg'), configuration(at('admin')));
  const server = startProcess(['haproxy', '-db', '-f', at('haproxy.cfg')], at('haproxy.log'));
  const stop = async (): Promise<void> => {
    await server.stop();
    remove(folder);
  };
  try {
    await server.until(async () => ((await isReady()) ? true : undefined), 15_000);
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    pid: server.pid,
    ask: (line) =>
      new Promise((resolve, reject) => {
        const socket = connect(at('admin'), () => socket.write(`${line}\n`));
        let answer = '';
        socket.on('data', (chunk) => {
          answer += chunk;
        });
        socket.on('error', reject).on('close', () => resolve(answer.trim()));
      }),
    stop,
  };
}
