/**
 * A kernel command line made from that of another schematic. It is the platform's own arguments, then `talos.environment`
 * when there is META, then the schematic's extra arguments, which may also replace or remove earlier ones. Only what
 * surely comes to the same is composed. An overlay has no part in it.
 * Source: siderolabs/talos pkg/imager/imager.go (buildCmdline); siderolabs/image-factory internal/profile/profile.go.
 */
import type { Schematic } from '@omni-airgap/talos';

/** Arguments that replace those of the platform. */
const replacing = ['console', 'talos.platform'];

const keyOf = (argument: string): string => argument.split('=', 1)[0] ?? '';

/** True when the arguments are simply added: nothing is replaced, removed, reordered or taken apart. */
function areAdded(args: readonly string[], before: readonly string[]): boolean {
  const keys = args.map(keyOf);
  const taken = new Set(before.map(keyOf));
  return (
    new Set(keys).size === keys.length &&
    keys.every((key) => key !== '' && !key.startsWith('-') && !replacing.includes(key) && !taken.has(key)) &&
    args.every((argument) => /^[\u0021-\u007e]+$/.test(argument))
  );
}

/**
 * @param cmdline the command line of `from`, for the same version, platform, architecture and SecureBoot
 * @returns that of `to`; undefined when it cannot be told
 */
export function composeCmdline(cmdline: string, from: Schematic, to: Schematic): string | undefined {
  if (from.customization.meta !== undefined || to.customization.meta !== undefined) return undefined;
  const all = cmdline.trim().split(/\s+/);
  const own = from.customization.extraKernelArgs ?? [];
  const base = all.slice(0, all.length - own.length);
  const ends = all.slice(base.length);
  if (own.some((argument, i) => ends[i] !== argument) || !areAdded(own, base)) return undefined;
  const wanted = to.customization.extraKernelArgs ?? [];
  return areAdded(wanted, base) ? [...base, ...wanted].join(' ') : undefined;
}
