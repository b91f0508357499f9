/**
 * Secrets stay home (T52): a schematic with a join token, a key or a password in it is not bundled without
 * permission, and the bundle says what was done. No value is ever named.
 */
import type { BundleDocument } from '@omni-airgap/format';
import { CodedError } from '@omni-airgap/oci/base';
import { collectVerified } from '@omni-airgap/oci/model';
import { findSecretsInText, maxSchematicBytes } from '@omni-airgap/talos';
import type { Contents } from './contents.ts';

export type SecretsRecord = NonNullable<BundleDocument['secrets']>;

/** @throws SECRET naming the schematic and where in it, unless that is allowed */
export async function checkSecrets(contents: Contents, isAllowed: boolean): Promise<SecretsRecord> {
  const schematics = contents.items.filter((item) => item.kind === 'schematic');
  const found: string[] = [];
  for (const { name } of schematics) {
    for (const descriptor of contents.graphs.get(name)?.values() ?? []) {
      if (!name.endsWith(`:${descriptor.digest.slice(7)}`)) continue;
      const source = contents.layout.fetch(descriptor);
      const bytes = await collectVerified(source, descriptor, maxSchematicBytes, name);
      const [secret] = findSecretsInText(bytes);
      if (secret === undefined) continue;
      if (!isAllowed) {
        throw new CodedError(
          'SECRET',
          `${name}: ${secret.where} holds ${secret.what}; it would leave with the bundle; take the schematic out of mirror.yaml, or pass --allow-secrets`,
        );
      }
      found.push(name);
    }
  }
  return { policy: isAllowed ? 'allowed' : 'refused', schematics: schematics.length, found };
}
