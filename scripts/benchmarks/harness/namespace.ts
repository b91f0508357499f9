/**
 * A network namespace for the whole benchmark: its loopback device carries nobody else's traffic, so its counter is the wire
 * between the clients and servers that are measured. Source: Linux network_namespaces(7), unshare(1).
 */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';

const variable = 'OMNI_AIRGAP_BENCH_NAMESPACE';
const bringUp = 'ip link set lo up && exec "$@"';

/** Whether this process is in one. */
export function isInNamespace(): boolean {
  return process.env[variable] === '1';
}

/**
 * Runs this program again in a namespace of its own.
 * @returns its exit code; undefined where none can be made, as without root
 */
export async function runInNamespace(): Promise<number | undefined> {
  const enter = [['--net'], ['--map-root-user', '--net']].find(
    (flags) => spawnSync('unshare', [...flags, 'sh', '-c', bringUp, 'sh', 'true']).status === 0,
  );
  if (enter === undefined) return undefined;
  const program = [process.execPath, ...process.execArgv, ...process.argv.slice(1)];
  const child = spawn('unshare', [...enter, 'sh', '-c', bringUp, 'sh', ...program], {
    stdio: 'inherit',
    env: { ...process.env, [variable]: '1' },
  });
  // Both get the terminal's Ctrl-C; this one stays until the other has cleaned up.
  process.on('SIGINT', () => {});
  const [code] = (await once(child, 'exit')) as [number | null];
  return code ?? 1;
}
