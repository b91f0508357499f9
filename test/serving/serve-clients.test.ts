/** Clients that are not ours against `serve`: containerd through its mirror configuration, and iPXE in a machine. */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { schematicFrom } from '../../packages/talos/src/index.ts';
import { startSampleUpstream } from '../../scripts/sample-upstream/sample-upstream.ts';
import { command } from '../services/command.ts';
import { describeWith } from '../services/service-test.ts';
import { temporaryFolder } from '../services/temporary.ts';
import { cliJson, type RunningCli, startCli } from '../support/cli.ts';
import { upstreamFlags, type Workspace, workspace } from '../support/workspace.ts';

const version = 'v1.13.9';
const carried = schematicFrom('customization: {}').id;
/** Linux would start it as a kernel; it takes a script as its command line. */
const ipxe = '/usr/lib/ipxe/ipxe.lkrn';

let site: Workspace;
let serve: RunningCli;
let url: URL;

beforeAll(async () => {
  const sample = await startSampleUpstream({ dir: temporaryFolder('upstream'), sizeMiB: 4, buildMs: 1 });
  site = await workspace(`
media:
  - {schematic: {customization: {}}, versions: [${version}], files: [kernel-amd64, initramfs-amd64.xz, cmdline-metal-amd64]}
images: [ghcr.io/dexidp/dex:v2.41.1]
`);
  await cliJson(['fetch', ...site.store, ...upstreamFlags(sample.urls)]);
  await sample.stop();
  await cliJson(['bundle', ...site.bundle]);
  // Not quiet: the access log tells what the clients asked for.
  serve = startCli(['serve', ...site.media, '--listen', '127.0.0.1:0', '--json']);
  await serve.until(() => serve.stdout().includes('\n'));
  url = new URL((JSON.parse(serve.stdout()) as { url: string }).url);
});
afterAll(async () => {
  serve?.kill('SIGTERM');
  await serve?.ended;
});

describeWith(['containerd', 'ctr'], 'containerd', () => {
  test('pulls an image of ghcr.io from here by its hosts.toml, and asks for what is missing in its name', async () => {
    const folder = temporaryFolder('containerd');
    const socket = join(folder, 'socket');
    const plugins = ['grpc.v1.cri', 'snapshotter.v1.devmapper', 'snapshotter.v1.zfs', 'snapshotter.v1.btrfs'];
    const settings = [
      'version = 2',
      `root = "${join(folder, 'root')}"`,
      `state = "${join(folder, 'state')}"`,
      `disabled_plugins = [${plugins.map((name) => `"io.containerd.${name}"`).join(', ')}]`,
      '[grpc]',
      `address = "${socket}"`,
    ];
    site.write('containerd.toml', `${settings.join('\n')}\n`);
    const mirror = `server = "${url.origin}"\n\n[host."${url.origin}"]\n  capabilities = ["pull", "resolve"]\n`;
    site.write('hosts/ghcr.io/hosts.toml', mirror);
    const daemon = spawn(
      'setpriv',
      ['--pdeathsig', 'KILL', '--', 'containerd', '-c', site.at('containerd.toml')],
      {
        stdio: 'ignore',
      },
    );
    onTestFinished(async () => {
      const ended = new Promise((resolve) => daemon.once('exit', resolve));
      daemon.kill('SIGTERM');
      await ended;
    });
    for (let i = 0; i < 200 && !existsSync(socket); i++) await sleep(50);
    const ctr = (...args: readonly string[]): Promise<string> =>
      command('ctr', ['--address', socket, ...args], folder);
    const fetchFlags = ['--hosts-dir', site.at('hosts'), '--all-platforms'];
    await ctr('content', 'fetch', ...fetchFlags, 'ghcr.io/dexidp/dex:v2.41.1');
    expect(await ctr('images', 'ls', '-q')).toContain('ghcr.io/dexidp/dex:v2.41.1');
    const content = (await ctr('content', 'ls', '-q')).trim().split('\n');
    expect(content.length).toBeGreaterThan(5);
    await expect(ctr('content', 'fetch', ...fetchFlags, 'ghcr.io/siderolabs/omni:v9.9.9')).rejects.toThrow();
    const { wishes } = await cliJson<{ wishes: unknown[] }>(['wants', '--from', url.origin]);
    expect(wishes).toMatchObject([{ kind: 'image', reference: 'ghcr.io/siderolabs/omni:v9.9.9' }]);
  });
});

describeWith(['qemu-system-x86_64'], 'iPXE', () => {
  test('runs the script: kernel, initramfs, and then the kernel would start', async (context) => {
    if (!existsSync(ipxe)) context.skip('not installed: ipxe (Debian package)');
    const script = `dhcp && chain http://10.0.2.2:${url.port}/pxe/${carried}/${version}/metal-x86_64`;
    const machine = ['-accel', 'tcg', '-m', '512', '-nographic', '-no-reboot'];
    const network = ['-netdev', 'user,id=net', '-device', 'virtio-net-pci,netdev=net,romfile='];
    const qemu = spawn(
      'setpriv',
      [
        '--pdeathsig',
        'KILL',
        '--',
        'qemu-system-x86_64',
        ...machine,
        '-kernel',
        ipxe,
        '-append',
        script,
        ...network,
      ],
      { stdio: ['ignore', 'pipe', 'pipe'] },
    );
    let console = '';
    qemu.stdout.on('data', (chunk) => {
      console += chunk;
    });
    onTestFinished(() => void qemu.kill('SIGKILL'));
    const path = `/image/${carried}/${version}`;
    // It takes the files in the order of the script, and starts the kernel when it has both.
    await expect
      .poll(() => serve.stderr(), { timeout: 60_000, interval: 250, message: console })
      .toMatch(
        new RegExp(
          `path=${path}/kernel-amd64 status=200 [\\s\\S]*path=${path}/initramfs-amd64\\.xz status=200 `,
        ),
      );
  }, 90_000);
});

test('each line of the access log has time, client, request, status, bytes, duration and ID', async () => {
  await fetch(new URL('/versions', url), { headers: { 'x-request-id': 'a-known-one' } });
  await expect
    .poll(() => serve.stderr())
    .toMatch(
      /^time=\d{4}-\d\d-\d\dT[0-9:.]+Z level=info event=request client=127\.0\.0\.1 method=GET path=\/versions status=200 bytes=\d+ ms=\d+ id=a-known-one$/m,
    );
});
