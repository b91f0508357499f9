/**
 * Secrets in a schematic (T52): whoever knows a schematic's ID can download media with all that is in it, and the
 * public factory logs what it is sent.
 */
import type { Schematic } from '../schematic/model.ts';
import { type Secret, secretsInConfiguration, secretsInValue } from './configuration.ts';
import { inlineConfiguration } from './text.ts';

function secretsInArgument(argument: string, where: string): readonly Secret[] {
  const inline = inlineConfiguration(argument);
  return [
    ...secretsInValue(argument, where),
    ...(inline === undefined ? [] : secretsInConfiguration(inline, where)),
  ];
}

/** Every place that looks like a secret, in the order of the schematic; values are never part of it. */
export function findSecrets({ overlay, customization }: Schematic): readonly Secret[] {
  const { embeddedMachineConfiguration = '', extraKernelArgs = [], meta = [] } = customization;
  const found = [
    ...secretsInValue(overlay?.image ?? '', 'overlay.image'),
    ...secretsInValue(overlay?.name ?? '', 'overlay.name'),
    ...secretsInValue(overlay?.options ?? null, 'overlay.options'),
    ...secretsInConfiguration(embeddedMachineConfiguration, 'customization.embeddedMachineConfiguration'),
    ...extraKernelArgs.flatMap((argument, i) =>
      secretsInArgument(argument, `customization.extraKernelArgs[${i}]`),
    ),
    ...meta.flatMap(({ value }, i) => secretsInConfiguration(value, `customization.meta[${i}].value`)),
  ];
  const unique = new Map(found.map((secret) => [`${secret.where} ${secret.what}`, secret]));
  return [...unique.values()];
}
