/** A cluster template for omnictl. Source: siderolabs/omni client/pkg/template/internal/models. */
import { isFromMinor } from '../version.ts';
import type { HandoffInput } from './handoff-input.ts';
import { yamlDocuments, yamlText } from './yaml-text.ts';

export function clusterTemplate({ talosVersions, kubernetesVersions }: HandoffInput): string {
  const talos = talosVersions.at(-1) ?? 'v0.0.0-FILL-IN';
  const isNewer = talosVersions.length === 0 || isFromMinor(talos, 12);
  const withoutPublic = talosVersions.length > 0 && isFromMinor(talos, 14);
  const cluster = yamlText(
    {
      kind: 'Cluster',
      name: 'air-gap-cluster',
      kubernetes: { version: kubernetesVersions.at(-1) ?? 'v0.0.0-FILL-IN' },
      talos: { version: talos },
      features: {
        useEmbeddedDiscoveryService: true,
        ...(withoutPublic ? { disablePublicDiscoveryService: true } : {}),
      },
      patches: [{ name: 'air-gap', file: isNewer ? 'air-gap-patch.yaml' : 'air-gap-patch-1.11.yaml' }],
    },
    'omnictl cluster template sync --file cluster-template.yaml\nThe embedded discovery service is Omni’s own: discovery.talos.dev cannot be reached from here.',
  );
  const machines = (kind: string, comment: string): string =>
    yamlText({ kind, machines: ['00000000-0000-0000-0000-000000000000'] }, comment);
  return yamlDocuments([
    cluster,
    machines('ControlPlane', 'FILL IN: the IDs of machines, from omnictl get machines.'),
    machines('Workers', 'FILL IN, or remove this document.'),
  ]);
}
