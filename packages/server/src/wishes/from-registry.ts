/** What was asked of the registry and is not here, as a wish: installers, and images whose registry host is known. */
import { isRegistryHost } from '@omni-airgap/oci';
import { isVersion } from '@omni-airgap/talos';
import { parseInstallerPath } from '../registry/installers.ts';
import { isReference, type WishSubject } from './wish.ts';

/** Signatures are asked for wherever there are none. */
const signatureTagPattern = /^sha256-[a-f0-9]{64}/;

/**
 * @param ns the registry that a mirror was asked in place of, as containerd says it
 * @returns undefined for what nobody could carry out
 */
export function wishOfImage(
  repository: string,
  reference: string,
  ns: string | null,
): WishSubject | undefined {
  if (signatureTagPattern.test(reference)) return undefined;
  const installer = parseInstallerPath(repository);
  if (installer !== undefined) {
    if (!isVersion(reference)) return undefined;
    const { schematic, name } = installer;
    return { kind: 'installer', schematic, version: reference, repository: name };
  }
  const host = ns !== null && isRegistryHost(ns) ? `${ns}/` : '';
  if (host === '' && !/^[a-z0-9-]+(?:\.[a-z0-9-]+)+\//.test(repository)) return undefined;
  const text = `${host}${repository}${reference.includes(':') ? '@' : ':'}${reference}`;
  return isReference(text) ? { kind: 'image', reference: text } : undefined;
}
