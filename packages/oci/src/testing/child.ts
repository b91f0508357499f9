/** A TypeScript file as a process of its own. */
import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

export function startChild(file: URL, ...args: readonly (string | number)[]): ChildProcess {
  return spawn(process.execPath, [fileURLToPath(file), ...args.map(String)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
}

/** What a child printed, when it has ended well. */
export async function finished(child: ChildProcess): Promise<string> {
  let text = '';
  child.stdout?.on('data', (chunk: Buffer) => {
    text += chunk.toString();
  });
  const [code, signal] = await ended(child);
  if (code !== 0) throw new Error(`the child ended with ${code ?? signal}`);
  return text;
}

export function ended(child: ChildProcess): Promise<readonly [number | null, NodeJS.Signals | null]> {
  return new Promise((resolve) => child.once('close', (code, signal) => resolve([code, signal])));
}
