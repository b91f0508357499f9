/** A schematic held against what an Image Factory offers for a Talos version. */
import { nearestName, quoted } from '../errors.ts';
import type { Schematic } from '../schematic/model.ts';

/** Names that the factory offers for one Talos version; undefined where it does not say. */
export interface FactoryOffer {
  readonly extensions: readonly string[] | undefined;
  readonly overlays: readonly string[] | undefined;
}

/**
 * Names that the factory takes for another one. Source: siderolabs/image-factory 26b95ca internal/profile/profile.go,
 * ExtensionNameAlias.
 */
const aliases: ReadonlyMap<string, string> = new Map(
  [
    ['v4l-uvc', 'v4l-uvc-drivers'],
    ['usb-modem', 'usb-modem-drivers'],
    ['gasket', 'gasket-driver'],
    ['talos-vmtoolsd', 'vmtoolsd-guest-agent'],
    ['xe-guest-utilities', 'xen-guest-agent'],
    ['nvidia-container-toolkit', 'nvidia-container-toolkit-lts'],
    ['nvidia-open-gpu-kernel-modules', 'nvidia-open-gpu-kernel-modules-lts'],
    ['nonfree-kmod-nvidia', 'nonfree-kmod-nvidia-lts'],
    ['nvidia-fabricmanager', 'nvidia-fabric-manager-lts'],
    ['i915-ucode', 'i915'],
    ['amdgpu-firmware', 'amdgpu'],
  ].map(([old, name]) => [`siderolabs/${old}`, `siderolabs/${name}`]),
);

/** True for a schematic that asks for something that a factory may not offer. */
export function isDemanding({ overlay, customization }: Schematic): boolean {
  return overlay !== undefined || extensionsOf(customization).length > 0;
}

/**
 * What a schematic asks for and the factory does not offer, with the nearest name that it does.
 * @returns one line for each; empty when it can be built
 */
export function unofferedParts(
  { overlay, customization }: Schematic,
  { extensions, overlays }: FactoryOffer,
): readonly string[] {
  const missing: string[] = [];
  for (const name of extensionsOf(customization)) {
    const known = [name, aliases.get(name) ?? name];
    if (extensions !== undefined && !extensions.some((one) => known.includes(one)))
      missing.push(`${quoted(name)} is not an official extension${meant(name, extensions)}`);
  }
  if (overlay !== undefined && overlays !== undefined && !overlays.includes(overlay.name))
    missing.push(`${quoted(overlay.name)} is not an official overlay${meant(overlay.name, overlays)}`);
  return missing;
}

function extensionsOf({ systemExtensions }: Schematic['customization']): readonly string[] {
  return systemExtensions?.officialExtensions ?? [];
}

function meant(name: string, offered: readonly string[]): string {
  const nearest = nearestName(name, offered);
  return nearest === undefined ? '' : `; did you mean ${nearest}?`;
}
