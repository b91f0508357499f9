/** Secrets stay home: what would leave with a request, or be carried, is looked through first. Threat T52, fault F21. */
import { CodedError } from '@omni-airgap/oci/base';
import { findSecrets } from '@omni-airgap/talos';
import type { Mirror } from './mirror/mirror.ts';

/** @throws SECRET naming where, never what */
export function refuseSecrets(mirror: Mirror): void {
  for (const { place, schematic } of mirror.media) {
    if (schematic.kind !== 'text') continue;
    const [found] = findSecrets(schematic.schematic);
    if (found === undefined) continue;
    throw new CodedError(
      'SECRET',
      `${place}: ${found.where} holds ${found.what}; it would go to the public Image Factory, which logs it; remove it, or pass --allow-secrets`,
    );
  }
}
