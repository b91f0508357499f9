/**
 * F13: a disk that fails at any moment of a command, and from then on whatever tidies up fails as well. The command ends
 * with exit code 5 and the cause that came first, never as a bug of the program; on the disk as it was it then succeeds.
 */
import { cpSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type RegistryDouble, startRegistryDouble } from '../../packages/oci/src/testing/index.ts';
import { cliJson, runHere } from '../support/cli.ts';
import { breakDisk, type FaultPlan } from '../support/disk-faults.ts';
import { addImage } from '../support/double-image.ts';
import { type Workspace, workspace } from '../support/workspace.ts';

let upstream: RegistryDouble;
let inside: RegistryDouble;
let site: Workspace;

beforeAll(async () => {
  [upstream, inside] = await Promise.all([startRegistryDouble(), startRegistryDouble()]);
  await addImage(upstream.repository('acme/app'), 'v1', 1, [1000]);
  await addImage(upstream.repository('acme/tool'), 'v1', 1, [1000]);
  site = await workspace('images: [ghcr.io/acme/app:v1]\n');
  const from = ['--upstream', `ghcr.io=${upstream.url}`];
  // One that has an image more than it needs.
  const both = site.write(
    'both.yaml',
    'apiVersion: omni-airgap/v1\nimages: [ghcr.io/acme/app:v1, ghcr.io/acme/tool:v1]\n',
  );
  await cliJson(['fetch', '--config', both, '--store', site.at('old'), ...from]);
  await cliJson(['fetch', '--config', site.at('mirror.yaml'), '--store', site.at('old'), ...from]);
  await cliJson(['fetch', ...site.store, ...from]);
  await cliJson(['bundle', ...site.bundle]);
});
afterAll(() => Promise.all([upstream?.close(), inside?.close()]));

/** What each command writes to is one folder, made anew for each run. */
interface Row {
  readonly name: string;
  readonly args: (folder: string) => readonly string[];
  /** What is copied into the folder before, by the name that it gets. */
  readonly before?: () => Readonly<Record<string, string>>;
  /** Exit codes of the same command on a disk that works again. Default 0. */
  readonly again?: readonly number[];
}

const commands: readonly Row[] = [
  {
    name: 'init',
    args: (folder) => ['init', '--config', join(folder, 'mirror.yaml')],
    before: () => ({ other: site.at('mirror.yaml') }),
    // It may be there although its folder could not be synced, and is never overwritten.
    again: [0, 4],
  },
  {
    name: 'keygen',
    args: (folder) => ['keygen', '--out', join(folder, 'site')],
    before: () => ({ other: site.at('mirror.yaml') }),
    // The private key may be left alone, and is never overwritten.
    again: [0, 4],
  },
  {
    name: 'fetch',
    args: (folder) => [
      ...['fetch', '--config', site.at('mirror.yaml'), '--store', join(folder, 'store')],
      ...['--upstream', `ghcr.io=${upstream.url}`, '--concurrency', '1'],
    ],
  },
  {
    name: 'gc',
    args: (folder) => ['gc', '--store', join(folder, 'store')],
    before: () => ({ store: site.at('old') }),
  },
  {
    name: 'bundle',
    args: (folder) => [
      'bundle',
      '--store',
      join(folder, 'store'),
      '--out',
      join(folder, 'media'),
      '--unsigned',
    ],
    before: () => ({ store: site.at('store') }),
  },
  {
    name: 'load',
    args: (folder) => [
      ...['load', ...site.media, '--registry', inside.host, '--plain-http', inside.host],
      ...['--object-store', `file://${folder}/objects`, '--state', join(folder, 'state')],
      ...['--handoff', join(folder, 'handoff'), '--receipt', join(folder, 'receipt.json')],
    ],
  },
];

const plans: readonly (readonly [title: string, plan: Pick<FaultPlan, 'first' | 'after'>, cause: RegExp])[] =
  [
    [
      'goes read-only',
      { first: 'EROFS', after: { code: 'EROFS', what: 'changes' } },
      /the file system is read-only; (?:if its device failed|specify another path)/,
    ],
    [
      'is full, and what tidies up fails otherwise',
      { first: 'ENOSPC', after: { code: 'EIO', what: 'tidying' } },
      /no space left on this disk/,
    ],
  ];

/** Notes about who holds a lock, which nothing depends on. */
const spared = /\.holder-[0-9a-f]{8}$/;

/** What is tried and may fail: then what fails next is the cause. */
const ignored = /^(?:chmod .*egress\.jsonl|openSync .*load\.lock)$/;

describe.each(plans)('F13 a disk that %s', (title, plan, cause) => {
  test.each(commands)('in the middle of $name', async ({ name, args, before, again = [0] }) => {
    let most = 0;
    // Each operation of the first, then every third.
    for (let at = 1; ; at += at < 20 ? 1 : 3) {
      const folder = site.at(`${name}-${title.replaceAll(/[^a-z]/g, '')}`);
      rmSync(folder, { recursive: true, force: true });
      for (const [to, from] of Object.entries(before?.() ?? {}))
        cpSync(from, join(folder, to), { recursive: true });
      const faults = breakDisk({ root: folder, at, ...plan, spared });
      const { code, stderr } = await runHere(args(folder));
      faults.end();
      if (faults.failed === undefined) {
        expect(code, stderr).toBe(0);
        break;
      }
      most = at;
      if (code === 0) continue;
      expect(code, `${faults.failed}\n${stderr}`).toBe(5);
      expect(stderr, faults.failed).toMatch(/\[DISK\]\n$/);
      if (!ignored.test(faults.failed)) expect(stderr, faults.failed).toMatch(cause);
      expect(again, faults.failed).toContain((await runHere(args(folder))).code);
    }
    expect(most).toBeGreaterThan(1);
  });
});
