/**
 * egress rules: what a firewall in front of the connected host must let through for a mirror.yaml, as an nftables
 * ruleset, as text for a request form, or as data.
 */

import {
  type EgressHost,
  type InsidePort,
  insidePorts,
  nodeHosts,
  selfHostedWireguardPort,
} from '@omni-airgap/talos';
import { withStandIns } from '../mirror/chosen-versions.ts';
import { readMirror } from '../mirror/mirror.ts';
import { hostsOf, resolveMirror } from '../mirror/resolved-mirror.ts';

/** Exactly the hosts that a fetch of this mirror.yaml may reach. @throws CONFIG, NO_INPUT */
export async function egressRules(config: string): Promise<readonly EgressHost[]> {
  return hostsOf(resolveMirror(withStandIns(await readMirror(config))));
}

const table = 'omni_airgap';

/**
 * A ruleset for `nft -f`. Names have no addresses of their own, so its sets are empty and dnsmasq fills them as it
 * answers; what it must be told stands in the comments. Sources: nft(8); dnsmasq(8), --nftset; RFC 4890 section 4.4.1
 * (what a host needs of ICMPv6); RFC 2131 section 4.1 and RFC 8415 section 7.2 (ports of DHCP).
 */
export function formatNftables(hosts: readonly EgressHost[]): string {
  const ports = [...new Set(hosts.map((host) => host.port))].sort((a, b) => a - b);
  const sets = (port: number): string => `4#inet#${table}#hosts4_${port},6#inet#${table}#hosts6_${port}`;
  return [
    '#!/usr/sbin/nft -f',
    '# What omni-airgap fetch may reach from this host, and nothing else. Firewalls know addresses, not names: the sets',
    '# below are filled by dnsmasq (2.87 or later) as it answers, with these lines in its configuration:',
    ...hosts.map(
      ({ pattern, port, why }) => `#   nftset=/${pattern.replace(/^\*\./, '')}/${sets(port)}  # ${why}`,
    ),
    `table inet ${table}`,
    `delete table inet ${table}`,
    `table inet ${table} {`,
    ...ports.flatMap((port) => [
      `  set hosts4_${port} { type ipv4_addr; flags timeout; timeout 1h; }`,
      `  set hosts6_${port} { type ipv6_addr; flags timeout; timeout 1h; }`,
    ]),
    '  chain output {',
    '    type filter hook output priority filter; policy drop;',
    '    oifname "lo" accept',
    '    ct state established,related accept',
    '    icmpv6 type { nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert } ip6 hoplimit 255 accept comment "IPv6 neighbor discovery"',
    '    icmpv6 type { mld-listener-report, mld-listener-done, mld2-listener-report } accept comment "IPv6 multicast membership, which neighbor discovery needs"',
    '    meta nfproto ipv4 udp sport 68 udp dport 67 accept comment "DHCP"',
    '    meta nfproto ipv6 udp sport 546 udp dport 547 accept comment "DHCPv6"',
    '    meta l4proto { tcp, udp } th dport 53 accept comment "DNS"',
    ...ports.flatMap((port) => [
      `    ip daddr @hosts4_${port} tcp dport ${port} accept`,
      `    ip6 daddr @hosts6_${port} tcp dport ${port} accept`,
    ]),
    '    counter reject',
    '  }',
    '}',
  ].join('\n');
}

export interface PortRules {
  readonly for: 'nodes' | 'saas';
  readonly ports: readonly InsidePort[];
  /** Outside, and only where the site wants it. */
  readonly optional: ReturnType<typeof nodeHosts>;
  readonly notes: readonly string[];
}

/** @param wireguardPort UDP; the default is the one of the documentation */
export function portRules(audience: PortRules['for'], wireguardPort?: number): PortRules {
  const all = insidePorts(wireguardPort === undefined ? {} : { wireguardPort });
  if (audience === 'saas') {
    return {
      for: audience,
      ports: all.filter((port) => port.saas),
      optional: nodeHosts(),
      notes: ['The addresses of Omni as a service, and its WireGuard port, stand in its user interface.'],
    };
  }
  return {
    for: audience,
    ports: all,
    optional: nodeHosts(),
    notes: [
      `A self-hosted Omni binds UDP ${selfHostedWireguardPort} for WireGuard unless it is told otherwise: compare with its siderolink flags, and pass --wireguard-port.`,
      'Ports of the Image Factory and of the registry are those of the documentation: yours may be others.',
    ],
  };
}
