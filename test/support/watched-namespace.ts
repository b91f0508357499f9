/**
 * A network namespace in which every attempt to reach anybody is written down by the kernel, answered or not: each
 * first packet of a TCP connection and each datagram, with its address and port. Its one link leads to this process,
 * which hands on what is meant for servers of the test.
 */
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server } from 'node:net';
import { command } from '../services/command.ts';

export interface WatchedNamespace {
  /** What a command begins with to run inside. */
  readonly enter: readonly string[];
  /** Lets the inside reach a server on this host's loopback. @returns the address it has inside */
  relay(host: string): Promise<string>;
  /** `tcp 10.0.0.1:443`, in order of text; everything since the start. */
  contacted(): Promise<readonly string[]>;
  close(): Promise<void>;
}

/** The programs it needs, for `describeWith`. */
export const namespaceCommands: readonly string[] = ['ip', 'nft'];

const [ip = ''] = namespaceCommands;

/** Of the whole machine: another run must not get ours. */
const name = `oa-watch-${process.pid}`;
const link = { here: `oaw${process.pid % 1_000_000}`, inside: `oax${process.pid % 1_000_000}` };
/** Another run at the same time is to have other addresses too. */
const subnet = `10.77.${process.pid % 250}`;
const addresses = { here: `${subnet}.1`, inside: `${subnet}.2` };
/** Where everything goes that is not meant for the namespace itself. */
export const linkAddress: string = addresses.here;
const enter: readonly string[] = [ip, 'netns', 'exec', name];

const rules = [
  'add table inet watch',
  'add set inet watch seen4 { type inet_proto . ipv4_addr . inet_service; flags dynamic; size 4096; }',
  'add set inet watch seen6 { type inet_proto . ipv6_addr . inet_service; flags dynamic; size 4096; }',
  'add chain inet watch out { type filter hook output priority 0; }',
  'add rule inet watch out tcp flags & (syn | ack) != syn accept',
  'add rule inet watch out meta l4proto { tcp, udp } update @seen4 { meta l4proto . ip daddr . th dport }',
  'add rule inet watch out meta l4proto { tcp, udp } update @seen6 { meta l4proto . ip6 daddr . th dport }',
];

/** Undefined where namespaces cannot be made, as without root. */
export async function watchedNamespace(): Promise<WatchedNamespace | undefined> {
  if (spawnSync(ip, ['netns', 'add', name]).status !== 0) return undefined;
  const relays: Server[] = [];
  const close = async (): Promise<void> => {
    for (const relay of relays) relay.close();
    // The link goes with its end inside.
    await command(ip, ['netns', 'del', name]);
  };
  try {
    const peer = ['type', 'veth', 'peer', 'name', link.inside, 'netns', name];
    await command(ip, ['link', 'add', link.here, ...peer]);
    await command(ip, ['addr', 'add', `${addresses.here}/30`, 'dev', link.here]);
    await command(ip, ['link', 'set', link.here, 'up']);
    const inside = (...args: string[]): Promise<string> => command(ip, ['-n', name, ...args]);
    await inside('addr', 'add', `${addresses.inside}/30`, 'dev', link.inside);
    for (const device of [link.inside, 'lo']) await inside('link', 'set', device, 'up');
    // Everything has a way out, so that whoever looks for one is seen.
    await inside('route', 'add', 'default', 'via', addresses.here);
    await command(ip, ['netns', 'exec', name, 'nft', rules.join('; ')]);
  } catch (error) {
    await close();
    throw error;
  }
  return {
    enter,
    async relay(host) {
      const server = await startRelay(new URL(`http://${host}`));
      relays.push(server);
      return `${addresses.here}:${(server.address() as AddressInfo).port}`;
    },
    async contacted() {
      const lists = await Promise.all(
        ['seen4', 'seen6'].map((set) =>
          command(ip, ['netns', 'exec', name, 'nft', '-j', 'list', 'set', 'inet', 'watch', set]),
        ),
      );
      return lists.flatMap(elementsOf).sort();
    },
    close,
  };
}

async function startRelay(target: URL): Promise<Server> {
  const server = createServer((client) => {
    const there = connect(Number(target.port), target.hostname);
    const end = (): void => {
      client.destroy();
      there.destroy();
    };
    client.on('error', end).pipe(there).on('error', end).pipe(client);
  });
  server.listen(0, addresses.here);
  await once(server, 'listening');
  return server;
}

interface NftSet {
  readonly set?: { readonly elem?: readonly { readonly concat: readonly (string | number)[] }[] };
}

function elementsOf(json: string): readonly string[] {
  const { nftables } = JSON.parse(json) as { readonly nftables: readonly NftSet[] };
  return nftables
    .flatMap(({ set }) => set?.elem ?? [])
    .map(({ concat: [protocol, address, port] }) => `${protocol} ${address}:${port}`);
}
