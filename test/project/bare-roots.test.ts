/**
 * On bare Debian systems, where nothing is installed that happens to be on a developer's machine: the executable does
 * the whole main job, and a clone starts with Debian's npm, as README.md says.
 */
import { execFileSync } from 'node:child_process';
import { copyFileSync, existsSync, globSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { platforms } from '../../scripts/lib/release-platforms.ts';
import { startSampleUpstream } from '../../scripts/sample-upstream/sample-upstream.ts';
import { copyClone, read, root } from '../repository.ts';
import {
  type BareRoot,
  bareRootCommands,
  copyNpmSettings,
  type Ended,
  hasSuite,
  installNpm,
  openBareRoot,
  suites,
} from '../services/bare-root.ts';
import { startRegistry } from '../services/docker-registry.ts';
import { describeAsRoot } from '../services/service-test.ts';
import { temporaryFolder } from '../services/temporary.ts';
import { upstreamFlags } from '../support/workspace.ts';

/** ms: the first run on a machine downloads and installs a system. */
const makingSystems = 20 * 60_000;

describeAsRoot([...bareRootCommands, 'docker-registry'], 'bare Debian systems', () => {
  const version = (JSON.parse(read('packages/cli/package.json')) as { version: string }).version;
  const here = platforms.find(({ arch }) => arch === process.arch)?.name;
  let dist: string;

  beforeAll(() => {
    dist = temporaryFolder('release');
    execFileSync(join(root, 'scripts/release'), [dist], { stdio: 'pipe' });
  });

  test('are made as README.md tells a reader to', () => {
    expect(read('README.md')).toContain(`\`${installNpm}\``);
  });

  describe.each(suites)('%s', (suite) => {
    let minbase: BareRoot | undefined;
    let withNpm: BareRoot | undefined;

    beforeAll(async () => {
      // The older one must be there wherever Debian is.
      if (suite !== suites[0] && !(await hasSuite(suite))) return;
      minbase = await openBareRoot(suite, 'minbase');
      withNpm = await openBareRoot(suite, 'npm');
    }, makingSystems);
    afterAll(() => {
      minbase?.remove();
      withNpm?.remove();
    });

    const opened = (system: BareRoot | undefined, context: { skip(note: string): void }): BareRoot => {
      if (system === undefined) context.skip(`the Debian mirror of this machine has no ${suite}`);
      return system as BareRoot;
    };

    test('without a library or program beyond minbase, the executable does the whole main job', async (context) => {
      const system = opened(minbase, context);
      for (const stray of ['usr/bin/node', 'usr/bin/npm', 'etc/ssl/certs/ca-certificates.crt'])
        expect(existsSync(join(system.folder, stray)), stray).toBe(false);
      expect(globSync('usr/lib/*/libatomic*', { cwd: system.folder })).toEqual([]);
      copyFileSync(join(dist, `omni-airgap-${here}`), join(system.folder, 'usr/local/bin/omni-airgap'));
      const upstream = await startSampleUpstream({
        dir: temporaryFolder('upstream'),
        sizeMiB: 1,
        buildMs: 1,
      });
      onTestFinished(() => upstream.stop());
      const registry = await startRegistry();
      onTestFinished(() => registry.stop());
      const sources = upstreamFlags(upstream.urls);
      const media = ['--bundle', 'media', '--verify-key', 'site.pub'];
      const target = ['--registry', registry.host, '--plain-http', registry.host];
      for (const args of [
        ['--version'],
        ['init'],
        ['plan', ...sources],
        ['fetch', ...sources],
        ['keygen', '--out', 'site'],
        ['bundle', '--out', 'media', '--sign-key', 'site.key'],
        ['verify', ...media],
        ['load', ...media, ...target, '--object-store', 'file:///srv/objects', '--receipt', 'receipt.json'],
      ])
        expect(await system.run(['omni-airgap', ...args]), args[0]).toMatchObject({ status: 0 });

      const lock = JSON.parse(readFileSync(join(system.folder, 'root/store/lock.json'), 'utf8')) as {
        items: { name: string; descriptor: { digest: string } }[];
      };
      const omni = lock.items.find(({ name }) => name.startsWith('ghcr.io/siderolabs/omni:'));
      const tag = omni?.name.split(':')[1];
      const answer = await fetch(`${registry.url}/v2/siderolabs/omni/manifests/${tag}`, {
        headers: {
          accept: 'application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json',
        },
      });
      expect(answer.headers.get('docker-content-digest')).toBe(omni?.descriptor.digest);
      expect(globSync('srv/objects/image/*/*/metal-amd64.iso', { cwd: system.folder })).toHaveLength(1);
    });

    test(
      "a clone's first call installs what it needs with Debian's npm; elsewhere it needs no npm",
      async (context) => {
        const system = opened(withNpm, context);
        expect(globSync('usr/lib/*/libatomic*', { cwd: system.folder })).toEqual([]);
        await copyNpmSettings(system);
        const clone = 'root/omni-airgap';
        copyClone(join(system.folder, clone));
        const call = (where: BareRoot, ...args: string[]): Promise<Ended> =>
          where.run(['./scripts/omni-airgap', ...args], { cwd: `/${clone}`, minutes: 10 });
        const first = await call(system, '--version');
        expect(first.stderr).toMatch(/^omni-airgap: installing pinned pnpm .*\n$/);
        expect(first).toMatchObject({ status: 0, stdout: `${version}\n` });
        expect(await call(system, 'init')).toMatchObject({ status: 0, stderr: '' });
        expect(existsSync(join(system.folder, clone, 'mirror.yaml'))).toBe(true);

        const other = opened(minbase, context);
        renameSync(join(system.folder, clone), join(other.folder, clone));
        expect(await call(other, '--version')).toEqual({ status: 0, stdout: `${version}\n`, stderr: '' });
        for (const library of globSync('usr/lib/*/libstdc++.so.6*', { cwd: other.folder }))
          rmSync(join(other.folder, library));
        expect(await call(other, '--version')).toEqual({
          status: 1,
          stdout: '',
          stderr:
            'omni-airgap: Node.js needs libstdc++.so.6, which is missing: install the package libstdc++6 (Debian, Ubuntu) or libstdc++ (RHEL, Fedora)\n',
        });
      },
      makingSystems,
    );
  });
});
