/** load into every registry that is found: what each of them ends up with is pulled and hashed by another reader. */
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { cliJson, startCli } from '../support/cli.ts';
import { type Front, type FrontRequest, startFront } from '../support/front.ts';
import { pullAll } from '../support/site-reader.ts';
import { type Workspace, workspace } from '../support/workspace.ts';
import { type StoreBundle, type StoreBundles, storeBundles } from './bundles.ts';
import { describeEach } from './program.ts';
import { type RegistryProgram, registries } from './registries.ts';

interface Loaded {
  readonly registry: Readonly<
    Record<'storedBlobs' | 'presentBlobs' | 'mountedBlobs' | 'storedBytes', number>
  >;
  readonly verifiedBytes?: number;
}

/** A PUT of a blob or manifest, but for the few bytes that the preflight tries. */
const stores = ({ method, path }: FrontRequest): boolean =>
  method === 'PUT' && !path.includes('/omni-airgap/');

describeEach(registries, (program, path) => {
  let bundles: StoreBundles;
  let site: Workspace;
  let registry: Awaited<ReturnType<RegistryProgram['start']>>;
  let front: Front;
  const load = ({ flags }: StoreBundle, prefix = ''): readonly string[] => [
    ...['load', ...flags, '--registry', `${front.host}${prefix}`, '--plain-http', front.host],
    ...['--state', site.at(`state${prefix}`), '--handoff', site.at('handoff')],
  ];
  const expectAll = async ({ roots }: StoreBundle, prefix = ''): Promise<void> => {
    const { contents, wrong } = await pullAll(`${registry.url}/v2${prefix}`, roots);
    expect(wrong).toEqual([]);
    expect(contents).toBeGreaterThan(roots.length);
  };

  beforeAll(async () => {
    bundles = await storeBundles();
    site = await workspace();
    registry = await program.start(path);
    front = await startFront({ '/': registry.url });
  });
  beforeEach(() => {
    front.fault = () => undefined;
  });
  afterAll(async () => {
    await front?.stop();
    await registry?.stop();
  });

  test('egress check --inside finds nothing that fails', async () => {
    const check = ['egress', 'check', '--inside', '--registry', front.host, '--plain-http', front.host];
    const { findings } = await cliJson<{ readonly findings: readonly { readonly state: string }[] }>(check);
    expect(findings.filter(({ state }) => state === 'failed')).toEqual([]);
    expect(findings.length).toBeGreaterThan(5);
  });

  test('everything arrives; a second load moves nothing', async () => {
    const first = await cliJson<Loaded>(load(bundles.base));
    expect(first.registry.storedBlobs).toBeGreaterThan(20);
    await expectAll(bundles.base);
    const before = front.requests.length;
    const second = await cliJson<Loaded>(load(bundles.base));
    expect(second.registry.storedBlobs).toBe(0);
    expect(second.registry.presentBlobs).toBeGreaterThan(20);
    expect(front.requests.slice(before).filter(stores)).toEqual([]);
  });

  test('an increment brings the rest, and --verify full reads all of it', async () => {
    const { registry: counts } = await cliJson<Loaded>(load(bundles.increment));
    expect(counts.storedBlobs).toBeGreaterThan(0);
    await expectAll(bundles.increment);
    const verified = await cliJson<Loaded>([...load(bundles.increment), '--verify', 'full']);
    expect(verified.registry.storedBlobs).toBe(0);
    expect(verified.verifiedBytes).toBeGreaterThan(40 * 1024 * 1024);
  });

  test('F34 SIGKILL in the middle: no name is published, and the same command sends only the rest', async () => {
    const command = [...load(bundles.base, '/second'), '--concurrency', '1'];
    const running = startCli(command);
    let arrived = 0;
    front.fault = (request) => {
      if (!stores(request)) return undefined;
      if (++arrived <= 4) return undefined;
      running.kill('SIGKILL');
      return 'cut';
    };
    expect((await running.ended).code).toBe(137);
    front.fault = () => undefined;
    for (const { name, digest } of bundles.base.roots) {
      const [, repository, tag = digest] = /^[^/]+\/([^:@]+)(?::([^:@]+))?/.exec(name) ?? [];
      const answer = await fetch(`${registry.url}/v2/second/${repository}/manifests/${tag}`);
      expect(answer.status, name).toBe(404);
    }
    const finished = await cliJson<Loaded>(command);
    expect(finished.registry.presentBlobs).toBeGreaterThanOrEqual(4);
    await expectAll(bundles.base, '/second');
  });
});
