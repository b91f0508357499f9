/**
 * A9: the nftables ruleset on a host with real addresses of both families: a network namespace with one link to another
 * one. What is in the sets is reached after the neighbors were forgotten, DHCP goes out, and nothing else does.
 */
import { spawnSync } from 'node:child_process';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { formatNftables } from '../../packages/fetcher/src/egress/rules.ts';
import { command } from '../services/command.ts';
import { type ServerProcess, startProcess } from '../services/server-process.ts';
import { describeAsRoot } from '../services/service-test.ts';
import { temporaryFolder } from '../services/temporary.ts';

const ip = 'ip';
/** Namespaces are of the whole machine: another run must not get ours. */
const names = { host: `oa-nfth-${process.pid}`, peer: `oa-nftp-${process.pid}` };
const link = { host: `oanh${process.pid % 1_000_000}`, peer: `oanp${process.pid % 1_000_000}` };
const addresses = {
  host: ['10.77.41.1/30', 'fd77:41::1/64'],
  peer: ['10.77.41.2/30', 'fd77:41::2/64'],
} as const;
const [peer4, peer6] = ['10.77.41.2', 'fd77:41::2'];

const listening = `
  const { createServer } = require('node:net');
  const { createSocket } = require('node:dgram');
  const waits = [443, 444].map((port) => new Promise((done) => createServer((s) => s.end()).listen(port, '::', done)));
  for (const [type, address, port] of [['udp4', '0.0.0.0', 67], ['udp4', '0.0.0.0', 1067], ['udp6', '::', 547]]) {
    const socket = createSocket({ type, ipv6Only: type === 'udp6' });
    socket.on('message', (text) => console.log('datagram ' + port + ' ' + text));
    waits.push(new Promise((done) => socket.bind(port, address, done)));
  }
  Promise.all(waits).then(() => console.log('ready'));`;

const connecting = `
  const [, address, port] = process.argv;
  const socket = require('node:net').connect({ host: address, port: Number(port), timeout: 5000 });
  socket.on('connect', () => process.exit(0)).on('timeout', () => process.exit(2)).on('error', () => process.exit(1));`;

const sending = `
  const [, type, from, address, port] = process.argv;
  const socket = require('node:dgram').createSocket(type);
  socket.bind(Number(from), () => socket.send('from ' + from, Number(port), address, () => socket.close()));`;

describeAsRoot(['ip', 'nft'], 'the nftables ruleset', () => {
  let peer: ServerProcess | undefined;
  const inHost = (script: string, ...args: readonly string[]) =>
    spawnSync(ip, ['netns', 'exec', names.host, process.execPath, '-e', script, ...args], {
      timeout: 20_000,
    });
  const nft = (input: string) => {
    const args = ['netns', 'exec', names.host, 'nft', '-f', '-'];
    const { status, stderr } = spawnSync(ip, args, { input, encoding: 'utf8' });
    expect(status, stderr).toBe(0);
  };

  beforeAll(async () => {
    for (const name of Object.values(names)) await command(ip, ['netns', 'add', name]);
    const veth = ['type', 'veth', 'peer', 'name', link.peer, 'netns', names.peer];
    await command(ip, ['link', 'add', link.host, 'netns', names.host, ...veth]);
    for (const side of ['host', 'peer'] as const) {
      const inside = (...args: string[]) => command(ip, ['-n', names[side], ...args]);
      for (const address of addresses[side]) {
        const options = address.includes(':') ? ['nodad'] : [];
        await inside('addr', 'add', address, 'dev', link[side], ...options);
      }
      await inside('link', 'set', link[side], 'up');
      await inside('link', 'set', 'lo', 'up');
    }
    const log = `${temporaryFolder('nftables')}/peer.log`;
    peer = startProcess([ip, 'netns', 'exec', names.peer, process.execPath, '-e', listening], log);
    const started = peer;
    await started.until(() => (started.output().includes('ready') ? true : undefined), 30_000);
    nft(formatNftables([{ pattern: 'ghcr.io', port: 443, why: 'images' }]));
    nft(
      `add element inet omni_airgap hosts4_443 { ${peer4} }\nadd element inet omni_airgap hosts6_443 { ${peer6} }`,
    );
    for (const family of ['-4', '-6'])
      await command(ip, ['-n', names.host, family, 'neigh', 'flush', 'dev', link.host]);
  });
  afterAll(async () => {
    await peer?.stop();
    for (const name of Object.values(names)) spawnSync(ip, ['netns', 'del', name]);
  });

  test.each([peer4, peer6])('lets through to %s, whose neighbor entry must be found first', (address) => {
    expect(inHost(connecting, address, '443').status).toBe(0);
    expect(inHost(connecting, address, '444').status).toBe(1);
  });

  test('lets DHCP out for both families, and no other datagram', async () => {
    for (const [type, from, address, port] of [
      ['udp4', '1068', peer4, '67'],
      ['udp4', '68', peer4, '1067'],
      ['udp4', '68', peer4, '67'],
      ['udp6', '546', peer6, '547'],
    ] as const)
      inHost(sending, type, from, address, port);
    const seen = (): readonly string[] =>
      (peer?.output() ?? '').split('\n').filter((line) => line.startsWith('datagram'));
    await peer?.until(() => (seen().length >= 2 ? true : undefined), 10_000);
    expect([...seen()].sort()).toEqual(['datagram 547 from 546', 'datagram 67 from 68']);
  });
});
