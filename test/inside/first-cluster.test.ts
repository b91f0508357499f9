/**
 * docs/first-cluster.md, line by line: on one machine, in a network of its own, with the names and ports of the page.
 * Registry and Image Factory are this program; Omni and dex are stand-ins (test/sidero runs the real ones).
 */
import { existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, test } from 'vitest';
import { nodeFlags } from '../../scripts/lib/node-flags.ts';
import { read, root } from '../repository.ts';
import { command } from '../services/command.ts';
import { findProgram } from '../services/found-program.ts';
import type { ServerProcess } from '../services/server-process.ts';
import { describeAsRoot } from '../services/service-test.ts';
import { temporaryFolder } from '../services/temporary.ts';
import { carried } from '../sidero/carried.ts';
import { type Inside, insideCommands, openInside } from '../sidero/inside.ts';

const page = 'docs/first-cluster.md';
/** Of Omni, and of the time server: the page has them. */
const addresses = ['10.0.0.5', '10.0.0.1'];
const standIns = fileURLToPath(new URL('../support/site-stand-ins.ts', import.meta.url));

/** Every command of the page, in order. */
const commands = read(page)
  .split('\n')
  .flatMap((line) => (/^ {4}\S/.test(line) ? [line.trim()] : []));

describeAsRoot(insideCommands, page, () => {
  const folder = temporaryFolder('first-cluster');
  const at = (...parts: string[]): string => join(folder, ...parts);
  const text = (name: string): string => readFileSync(at('srv', name), 'utf8');
  const servers: ServerProcess[] = [];
  let inside: Inside | undefined;

  afterAll(async () => {
    for (const server of servers) await server.stop();
    await inside?.close();
  });

  test('every command does what the page says, to a site where everything answers', async ({ skip }) => {
    if (!existsSync('/dev/net/tun')) skip('this machine has no /dev/net/tun, which Omni needs');
    const { site } = await carried();
    const network = await openInside();
    inside = network;
    for (const address of addresses)
      await command(network.enter[0] ?? '', [
        ...network.enter.slice(1),
        'ip',
        'address',
        'add',
        `${address}/32`,
        'dev',
        'lo',
      ]);
    mkdirSync(at('srv'));
    mkdirSync(at('bin'));
    symlinkSync(join(root, 'scripts/omni-airgap'), at('bin/omni-airgap'));
    writeFileSync(at('srv/site.pub'), readFileSync(site.at('site.pub')));
    const environment = [`PATH=${at('bin')}:${process.env['PATH']}`, `HOME=${at()}`];
    // A mount namespace of its own: /mnt/usb is nowhere else.
    const media = 'mount -t tmpfs tmpfs /mnt && mkdir /mnt/usb && mount --bind "$0" /mnt/usb && exec "$@"';
    const enter = [
      ...network.enter,
      'sh',
      '-c',
      media,
      site.at('media'),
      'env',
      '--chdir',
      at('srv'),
      ...environment,
    ];
    const run = (line: string): Promise<string> => {
      const [program = '', ...args] = [...enter, 'sh', '-euc', line];
      return command(program, args);
    };
    const start = async (name: string, port: number, args: readonly [string, ...string[]]): Promise<void> => {
      const server = network.start(name, args, { folder: at('srv'), env: { HOME: at() } });
      servers.push(server);
      await server.until(async () => {
        const found = await run(`ss -ltnH 'sport = :${port}'`);
        return found === '' ? undefined : true;
      }, 30_000);
    };

    const startRegistry = async (): Promise<void> => {
      const [, line = ''] = /^ExecStart=(.*)$/m.exec(text('omni-airgap-registry.service')) ?? [];
      const [program = '', ...args] = line
        .replace('/var/lib/omni-airgap/registry', at('registry'))
        .split(' ');
      await start('registry', 5000, [program, ...args]);
    };
    const startServices = async (): Promise<void> => {
      const certificate = ['chain', 'key'].map((what) => at('srv/pki/services', `factory-${what}.pem`));
      const [chain = '', key = ''] = certificate;
      const factory = ['serve', ...site.media, '--listen', '0.0.0.0:8080', '--cert', chain, '--key', key];
      await start('factory', 8080, [at('bin/omni-airgap'), ...factory]);
      await start('stand-ins', 8100, [
        ...([process.execPath, ...nodeFlags, standIns] as const),
        ...[at('srv/pki/services'), 'https://login.site:5556', '50180', '10.0.0.1'],
      ]);
    };
    const omnictl = findProgram('omnictl', 'SIDERO_BIN');

    /** What is not run, and why it is right all the same. */
    const leftOut: readonly (readonly [RegExp, (line: string) => Promise<void> | void])[] = [
      [/^systemctl enable --now \$PWD\/omni-airgap-registry\.service$/, startRegistry],
      [
        /^mkdir -p \/etc\/(docker|containers)\/certs\.d\/registry\.site:5000 && cp pki\/ca\.pem /,
        () => expect(text('pki/ca.pem')).toContain('BEGIN CERTIFICATE'),
      ],
      [
        /^cd handoff && docker compose /,
        async (line) => {
          expect(text('handoff/README.txt')).toContain(`\n       ${line.replace('cd handoff && ', '')}\n`);
          await startServices();
        },
      ],
      [
        /^cp handoff\/quadlets\/\* /,
        (line) => expect(text('handoff/README.txt')).toContain(line.replace('handoff/', '')),
      ],
      [
        /^(?:cd handoff && umask 077 && )?omnictl media /,
        (line) => {
          const [known = ''] = line.replace('cd handoff && umask 077 && ', '').split('     #');
          expect(text('handoff/installation-media.txt')).toContain(known);
        },
      ],
      [
        /^omnictl cluster template validate /,
        async (line) => {
          if (omnictl !== undefined) await run(line.replace('omnictl', omnictl));
        },
      ],
      [/^omnictl (?:config|get|cluster template (?:sync|status)|kubeconfig) /, () => {}],
      [/^kubectl get nodes$/, () => {}],
    ];
    const printed = new Map<string, string>();
    for (const line of commands) {
      const [, instead] = leftOut.find(([pattern]) => pattern.test(line)) ?? [];
      if (instead !== undefined) await instead(line);
      else printed.set(line, await run(line));
    }
    const ran = [...printed.keys()].map((line) => line.split(' ').slice(0, 3).join(' '));
    expect(ran).toEqual([
      'omni-airgap verify --bundle',
      'omni-airgap site init',
      'chown 1001 pki/services/login-key.pem',
      'omni-airgap keygen --out',
      'omni-airgap load --bundle',
      'omni-airgap egress check',
      'cat pki/log-ins.txt',
    ]);
    expect(printed.get('cat pki/log-ins.txt')).toContain('admin@omni.site');
    const check = [...printed].find(([line]) => line.startsWith('omni-airgap egress check'))?.[1] ?? '';
    expect(check).not.toMatch(/ failed /);
    for (const what of ['WireGuard 50180/udp', 'GET /healthz', 'issuer', 'tags/list of kubelet'])
      expect(check).toMatch(new RegExp(`${what.replaceAll(/[/]/g, '\\/')} +ok`));
    // Nothing is left to fill in, but for machines.
    expect(text('handoff/compose.yaml')).not.toContain('FILL-IN');
    expect(text('handoff/compose.yaml')).toMatch(/registry\.site:5000\/siderolabs\/omni@sha256:[0-9a-f]{64}/);
  }, 300_000);
});
