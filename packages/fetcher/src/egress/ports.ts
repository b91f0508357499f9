/** egress rules --for nodes, --for saas: what machines open connections to, for the firewalls inside. */
import { type InsidePort, insidePorts, nodeHosts, selfHostedWireguardPort } from '@omni-airgap/talos';

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
