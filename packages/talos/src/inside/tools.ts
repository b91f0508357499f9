/**
 * Programs of others that a site needs beside what is carried. omnictl and talosctl are not among them: Omni hands both
 * out.
 * Source: siderolabs/docs omni/self-hosted/run-omni-airgapped (prerequisites), omni/getting-started (kubectl with
 * oidc-login).
 */
import { sideroPrefix } from '../images/sets.ts';

export interface NeededTool {
  readonly name: string;
  /** Who has it installed. */
  readonly on: string;
  readonly why: string;
}

const tools: readonly NeededTool[] = [
  {
    name: 'docker with its plug-in compose, or podman 4.5 or later',
    on: 'the host of Omni',
    why: 'runs Omni, the Image Factory and dex',
  },
  {
    name: 'kubectl with its plug-in oidc-login (kubelogin)',
    on: 'workstations',
    why: 'kubeconfigs from Omni log in with it',
  },
];

/** @param names references of a set; without Omni in it the site needs none of them */
export function neededTools(names: readonly string[]): readonly NeededTool[] {
  const omni = `${sideroPrefix}omni`;
  return names.some((name) => name.startsWith(`${omni}:`) || name.startsWith(`${omni}@`)) ? tools : [];
}
