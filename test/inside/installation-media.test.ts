/**
 * The commands of installation-media.txt, run by a shell as they stand there: with the real curl, and stand-ins for what
 * needs a running Omni. Whatever holds the join token is readable by its owner alone.
 */
import { chmodSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { zstdDecompressSync } from 'node:zlib';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type HandoffInput, handoffFiles, schematicFrom } from '../../packages/talos/src/index.ts';
import { documents } from '../../packages/talos/test/documents.ts';
import { ca, full } from '../../packages/talos/test/handoff-sample.ts';
import { command } from '../services/command.ts';
import { describeWith } from '../services/service-test.ts';
import { temporaryFolder } from '../services/temporary.ts';

const token = 'w7uVuW3zbVKIYQuzEcyetAHeYMeo5q2L9RvkAVfCfSCD';
const joinUrl = `https://omni.site:8090?jointoken=${token}`;
const joinArguments = `siderolink.api=${joinUrl} talos.events.sink=[fdae:41e4:649b:9303::1]:8091`;
const joinConfig = `apiVersion: v1alpha1\nkind: SideroLinkConfig\napiUrl: ${joinUrl}\n`;
const cmdline = 'talos.platform=metal console=tty0 slab_nomerge pti=on';

describeWith(['curl'], 'the commands of installation-media.txt', () => {
  const folder = temporaryFolder('installation-media');
  let server: Server;
  let url = '';
  /** What was posted to /schematics. */
  let posted = '';

  beforeAll(async () => {
    server = createServer(async (request, response) => {
      if (request.method === 'POST') {
        posted = '';
        for await (const chunk of request.setEncoding('utf8')) posted += chunk;
        const { id, canonical } = schematicFrom(posted);
        response.writeHead(201).end(JSON.stringify({ id, schematic: canonical }));
      } else response.end(request.url?.endsWith('cmdline-metal-amd64') ? cmdline : `asset ${request.url}`);
    });
    await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  afterAll(() => void server?.close());

  /** Writes the hand-off, and programs that stand in for those that talk to Omni and machines. */
  function handoff(name: string, input: Partial<HandoffInput>): string {
    const at = join(folder, name);
    mkdirSync(join(at, 'bin'), { recursive: true });
    const site = { ...full.site, factory: url, pxe: url };
    const files = handoffFiles({ ...full, site, talosVersions: ['v1.13.9'], ...input });
    for (const file of files.filter((one) => !one.name.includes('/')))
      writeFileSync(join(at, file.name), file.text);
    writeFileSync(join(at, 'arguments'), joinArguments);
    const stand = (program: string, body: string): void => {
      writeFileSync(join(at, 'bin', program), `#!/bin/sh\n${body}\n`);
      chmodSync(join(at, 'bin', program), 0o755);
    };
    stand(
      'omnictl',
      `printf '%s\\n' "$@" > called-omnictl-$2
case "$*" in
  'jointoken kernel-args') cat arguments ;;
  'jointoken machine-config') cat <<'EOF'\n${joinConfig}EOF\n;;
  *download*) while [ "$1" != --output ]; do shift; done; echo "media with ${token}" > "$2" ;;
esac`,
    );
    stand('talosctl', 'printf \'%s\\n\' "$@" > called-talosctl');
    return at;
  }

  /** Runs the commands of one way. @returns what they print on standard error */
  async function run(at: string, letter: string): Promise<string> {
    const text = readFileSync(join(at, 'installation-media.txt'), 'utf8');
    const [, commands] =
      new RegExp(`^${letter}\\. .*\\n\\n((?: {4}.*\\n|\\n(?= {4}))+)`, 'm').exec(text) ?? [];
    if (commands === undefined) expect.fail(`way ${letter} has no commands:\n${text}`);
    // Up to the empty line; what follows explains.
    const lines = (commands.split('\n\n')[0] ?? '').replaceAll(/^ {4}/gm, '');
    const script = `set -eu; PATH="$PWD/bin:$PATH"; umask 022\n${lines}`;
    return command('sh', ['-c', `( ${script}\n) 2>&1 >/dev/null`], at);
  }

  const read = (at: string, name: string): string => readFileSync(join(at, name), 'utf8');
  const modeOf = (at: string, name: string): string => (statSync(join(at, name)).mode & 0o777).toString(8);

  test('A: a preset with the embedded configuration, and its media', async () => {
    const at = handoff('embedded', {});
    await run(at, 'A');
    expect(read(at, 'called-omnictl-preset').trim().split('\n')).toEqual([
      ...['media', 'preset', 'create', 'site-1.13.9', '--arch', 'amd64', '--talos-version', '1.13.9'],
      ...['--embedded-machine-config-file', 'embedded-config.yaml'],
    ]);
    expect(documents(read(at, 'embedded-config.yaml'))).toMatchObject([{ kind: 'TrustedRootsConfig' }]);
    expect(modeOf(at, 'site-1.13.9.iso')).toBe('600');
  });

  test('A with an older Omni: a schematic by hand, whose media come from the factory', async () => {
    const at = handoff('by-hand', { omniVersion: 'v1.8.0' });
    await run(at, 'A');
    const { id, schematic } = schematicFrom(posted);
    expect(documents(schematic.customization.embeddedMachineConfiguration)).toEqual([
      { apiVersion: 'v1alpha1', kind: 'TrustedRootsConfig', name: 'site-ca', certificates: ca },
      { apiVersion: 'v1alpha1', kind: 'SideroLinkConfig', apiUrl: joinUrl },
    ]);
    expect(read(at, 'site-1.13.9.iso')).toBe(`asset /image/${id}/v1.13.9/metal-amd64.iso`);
    for (const name of ['join-config.yaml', 'join-schematic.yaml', 'site-1.13.9.iso'])
      expect([name, modeOf(at, name)]).toEqual([name, '600']);
  });

  test.each(['v1.10.4', 'v1.7.0'])('B with Omni %s: media with the argument', async (omniVersion) => {
    const at = handoff(`early-${omniVersion}`, { omniVersion });
    await run(at, 'B');
    const called = read(at, omniVersion === 'v1.7.0' ? 'called-omnictl-iso' : 'called-omnictl-preset');
    const [, argument = ''] = /--extra-kernel-args\n(.*)\n/.exec(called) ?? [];
    const packed = Buffer.from(argument.slice('talos.config.early='.length), 'base64');
    expect(documents(zstdDecompressSync(packed).toString())).toMatchObject([{ certificates: ca }]);
    expect(modeOf(at, 'early-1.13.9.iso')).toBe('600');
  });

  test('C: a boot script with the arguments of the image, the authority and Omni, and a warning when it is too long', async () => {
    const at = handoff('pxe', {});
    const [{ id = '' } = {}] = full.carried ?? [];
    expect(await run(at, 'C')).toBe('');
    const early = read(at, 'early-argument.txt').trim().split('\n').at(-1);
    expect(read(at, 'join.ipxe')).toBe(
      [
        '#!ipxe',
        'imgfree',
        `kernel ${url}/image/${id}/v1.13.9/kernel-amd64 ${cmdline} ${early} ${joinArguments}`,
        `initrd ${url}/image/${id}/v1.13.9/initramfs-amd64.xz`,
        'boot',
        '',
      ].join('\n'),
    );
    expect(modeOf(at, 'join.ipxe')).toBe('600');
    writeFileSync(join(at, 'arguments'), `${joinArguments} ${'x'.repeat(2000)}`);
    expect(await run(at, 'C')).toContain('TOO LONG');
  });

  test('D: the configuration that a machine in maintenance mode gets', async () => {
    const at = handoff('maintenance', {});
    await run(at, 'D');
    expect(documents(read(at, 'join-config.yaml'))).toMatchObject([
      { kind: 'TrustedRootsConfig', certificates: ca },
      { kind: 'SideroLinkConfig', apiUrl: joinUrl },
    ]);
    expect(modeOf(at, 'join-config.yaml')).toBe('600');
    expect(read(at, 'called-talosctl').trim().split('\n')).toEqual([
      ...['apply-config', '--insecure', '--nodes', 'ADDRESS', '--file', 'join-config.yaml'],
    ]);
  });
});
