/** What can be known of Omni's tunnels: from another host little, on its own host what a container needs. */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { probeUdp } from '../src/inside-check/connect.ts';
import { checkWireguard, type HostFiles } from '../src/inside-check/wireguard.ts';
import { temporary } from './support.ts';

const missing: HostFiles = { tun: '/no/such/tun', sockets: ['/no/such/udp'], status: '/no/such/status' };

/** @returns the port, and what closes it */
async function bound(): Promise<{ readonly port: number; readonly close: () => Promise<void> }> {
  const socket = createSocket('udp4');
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  let open = true;
  const close = async (): Promise<void> => {
    if (open) await new Promise<void>((resolve) => socket.close(() => resolve()));
    open = false;
  };
  onTestFinished(close);
  return { port: socket.address().port, close };
}

test('from another host: refused is told, silence is not taken for more than it is', async () => {
  const { port, close } = await bound();
  expect(await probeUdp('127.0.0.1', port)).toContain(
    'no refusal seen; WireGuard answers nobody without a key',
  );
  await close();
  await expect(probeUdp('127.0.0.1', port)).rejects.toMatchObject({
    code: 'NETWORK',
    message: expect.stringContaining('refused'),
  });
});

test.runIf(existsSync('/proc/net/udp'))(
  'on its own host: a port that something has bound, and one that nothing has',
  async () => {
    const { port, close } = await bound();
    const first = async () => {
      const [one] = await checkWireguard({ wireguard: `127.0.0.1:${port}` });
      return one;
    };
    expect(await first()).toEqual({
      subject: 'omni',
      what: `WireGuard ${port}/udp`,
      state: 'ok',
      detail: 'bound on this host; only a machine can tell whether it gets through',
    });
    await close();
    expect(await first()).toMatchObject({
      state: 'failed',
      detail: `nothing on this host has bound ${port}/udp; start Omni, or correct wireguard in the site file`,
    });
  },
);

test('on its own host: IPv6 as well, by the table of its sockets', async () => {
  const sockets = join(await temporary(), 'udp6');
  // 50180 is c404.
  await writeFile(
    sockets,
    '  sl  local_address remote_address st\n  12: 00000000000000000000000000000000:C404 00000000000000000000000000000000:0000 07\n',
  );
  const [port] = await checkWireguard(
    { wireguard: '127.0.0.1' },
    { ...missing, sockets: ['/no/such/udp', sockets] },
  );
  expect(port).toMatchObject({ what: 'WireGuard 50180/udp', state: 'ok' });
});

test('on its own host: the device that the container is given', async () => {
  const deviceOf = async (tun: string) =>
    (await checkWireguard({ wireguard: '127.0.0.1' }, { ...missing, tun }))[1];
  expect(await deviceOf('/no/such/tun')).toMatchObject({
    what: '/no/such/tun',
    state: 'failed',
    detail: expect.stringContaining('is missing; run modprobe tun'),
  });
  expect(await deviceOf('/dev/null')).toMatchObject({
    state: 'failed',
    detail: expect.stringContaining('is another device'),
  });
  if (existsSync('/dev/net/tun')) expect(await deviceOf('/dev/net/tun')).toMatchObject({ state: 'ok' });
});

test('on its own host: the capability that the container is given', async () => {
  const status = join(await temporary(), 'status');
  const stateOf = async (capabilities: string) => {
    await writeFile(status, `Name:\tnode\nCapEff:\t0000000000000000\nCapBnd:\t${capabilities}\n`);
    return (await checkWireguard({ wireguard: '127.0.0.1' }, { ...missing, status }))[2]?.state;
  };
  expect(await stateOf('000001ffffffffff')).toBe('ok');
  expect(await stateOf('000001ffffffefff')).toBe('note');
});

test('a system that shows nothing is not called broken, but for the device', async () => {
  const findings = await checkWireguard({ wireguard: '127.0.0.1:50180' }, missing);
  expect(findings.map(({ state }) => state)).toEqual(['note', 'failed', 'note']);
  expect(await checkWireguard({})).toEqual([]);
});
