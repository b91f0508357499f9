/**
 * What Omni's tunnels to machines need. WireGuard answers nobody without a key, so no handshake can be tried: from another
 * host all that can be known is that a datagram is not refused. On the host of Omni itself it can be seen whether its port
 * is bound, and whether a container can be given the device and the capability.
 * Source: proc_pid_status(5), CapBnd; proc_net(5), udp; linux/capability.h; Documentation/admin-guide/devices.txt.
 */
import { readFile, stat } from 'node:fs/promises';
import { networkInterfaces } from 'node:os';
import { CodedError, systemCodeOf } from '@omni-airgap/oci/base';
import { addressesOf } from '@omni-airgap/oci/http';
import { type Site, wireguardEndpoint } from '@omni-airgap/talos';
import { probeUdp } from './connect.ts';
import { type Finding, finding } from './finding.ts';

/** Where a Linux host shows these things. */
export interface HostFiles {
  readonly tun: string;
  /** The UDP sockets of the host, IPv4 and IPv6. */
  readonly sockets: readonly string[];
  /** Capabilities of this process. */
  readonly status: string;
}

const linux: HostFiles = {
  tun: '/dev/net/tun',
  sockets: ['/proc/net/udp', '/proc/net/udp6'],
  status: '/proc/self/status',
};
const tunDevice = { major: 10, minor: 200 } as const;
const netAdmin = 12n;

/** @returns nothing for a site file without `wireguard` */
export async function checkWireguard(site: Site, files: HostFiles = linux): Promise<readonly Finding[]> {
  const endpoint = wireguardEndpoint(site);
  if (endpoint === undefined) return [];
  const { host, port } = endpoint;
  const what = `WireGuard ${port}/udp`;
  if (!(await isThisHost(host))) return [await finding('omni', what, () => probeUdp(host, port))];
  return [
    await finding('omni', what, () => boundPort(port, files.sockets)),
    await finding('omni', files.tun, () => device(files.tun)),
    await finding('omni', 'NET_ADMIN', () => capability(files.status)),
  ];
}

async function isThisHost(host: string): Promise<boolean> {
  const own = Object.values(networkInterfaces()).flatMap((all = []) => all.map(({ address }) => address));
  const addresses = await addressesOf(host).catch(() => []);
  return addresses.some((address) => own.includes(address));
}

type Verdict = string | { readonly note: string };

async function boundPort(port: number, files: readonly string[]): Promise<Verdict> {
  const tables = (await Promise.all(files.map(textOf))).filter((text) => text !== undefined);
  if (tables.length === 0) return { note: 'this host is the one of Omni, and does not show its sockets' };
  const bound = tables.some((table) =>
    [...table.matchAll(/^\s*\d+: [0-9A-F]+:([0-9A-F]{4}) /gm)].some(
      ([, hex = '']) => Number.parseInt(hex, 16) === port,
    ),
  );
  if (bound) return 'bound on this host; only a machine can tell whether it gets through';
  throw new CodedError(
    'NETWORK',
    `nothing on this host has bound ${port}/udp; start Omni, or correct wireguard in the site file`,
  );
}

async function device(path: string): Promise<Verdict> {
  const info = await stat(path).catch(() => undefined);
  // As glibc's makedev packs them, for numbers this small.
  const number = info?.isCharacterDevice() === true ? info.rdev : undefined;
  if (number === tunDevice.major * 256 + tunDevice.minor) return 'this host has the device';
  throw new CodedError(
    'DISK',
    `${path} is ${info === undefined ? 'missing' : 'another device'}; run modprobe tun: Omni's container does not start without it`,
  );
}

async function capability(path: string): Promise<Verdict> {
  const [, hex] = /^CapBnd:\s*([0-9a-f]+)$/m.exec((await textOf(path)) ?? '') ?? [];
  if (hex === undefined) return { note: 'this system does not show what containers can be given' };
  if (((BigInt(`0x${hex}`) >> netAdmin) & 1n) === 1n) return 'not taken away from this host';
  return {
    note: 'taken away from this process, which runs in a container or a restricted unit; Omni needs a host that has it',
  };
}

async function textOf(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT' || systemCodeOf(error) === 'EACCES') return undefined;
    throw error;
  }
}
