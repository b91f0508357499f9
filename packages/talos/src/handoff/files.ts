/**
 * The files that a site fills in and runs after a load: Talos and Omni configuration, an image-factory.yaml, a
 * compose file, quadlets, and a README with the steps that remain. Pure: values in, texts out. Nothing secret is made here.
 */
import { isFromMinor } from '../version.ts';
import { composeFile, dexConfig } from './compose.ts';
import { imageFactoryConfig } from './image-factory.ts';
import type { HandoffInput } from './input.ts';
import { carriedSchematicName, installationMediaText, schematicWithCa } from './join.ts';
import {
  clusterTemplate,
  earlyArgument,
  embeddedConfig,
  machinePatch,
  olderMachinePatch,
} from './machines.ts';
import { quadlets } from './quadlets.ts';
import { readmeText } from './readme.ts';

export interface HandoffFile {
  /** Path below the folder of the hand-off. */
  readonly name: string;
  readonly text: string;
}

/** All files, in the order of their names. */
export function handoffFiles(input: HandoffInput): readonly HandoffFile[] {
  const { talosVersions, ca, bucket, signingKey } = input;
  const newer = talosVersions.filter((version) => isFromMinor(version, 12));
  const older = talosVersions.filter((version) => !isFromMinor(version, 12));
  const takesEarly = talosVersions.some((version) => isFromMinor(version, 11));
  const files: HandoffFile[] = [
    { name: 'README.txt', text: readmeText(input) },
    { name: 'cluster-template.yaml', text: clusterTemplate(input) },
    { name: 'compose.yaml', text: composeFile(input) },
    ...(input.site.oidc === undefined ? [{ name: 'dex.yaml', text: dexConfig(input) }] : []),
    { name: 'image-factory.yaml', text: imageFactoryConfig(input, undefined) },
    { name: 'installation-media.txt', text: installationMediaText(input) },
  ];
  for (const { name, text } of quadlets(input)) files.push({ name: `quadlets/${name}`, text });
  if (bucket !== undefined) {
    files.push({ name: 'image-factory-s3.yaml', text: imageFactoryConfig(input, bucket) });
  }
  if (newer.length > 0 || talosVersions.length === 0) {
    files.push({ name: 'air-gap-patch.yaml', text: machinePatch(input) });
    if (ca !== undefined) files.push({ name: carriedSchematicName, text: schematicWithCa(ca) });
  }
  if (ca !== undefined) files.push({ name: 'embedded-config.yaml', text: embeddedConfig(ca) });
  if (older.length > 0) files.push({ name: 'air-gap-patch-1.11.yaml', text: olderMachinePatch(input) });
  if (takesEarly && ca !== undefined) {
    files.push({ name: 'early-argument.txt', text: earlyArgument(ca).text });
  }
  if (ca !== undefined) files.push({ name: 'ca.pem', text: ca });
  if (signingKey !== undefined) files.push({ name: 'cosign.pub', text: signingKey });
  return files.sort((a, b) => (a.name < b.name ? -1 : 1));
}
