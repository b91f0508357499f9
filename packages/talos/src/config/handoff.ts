/**
 * The files that a site fills in and runs after a load: Talos and Omni configuration, an image-factory.yaml, a
 * compose file, and a README with the steps that remain. Pure: values in, texts out. Nothing secret is made here.
 */

import { isFromMinor } from '../version.ts';
import { clusterTemplate } from './cluster-template.ts';
import { composeFile } from './compose.ts';
import { dexConfig } from './dex.ts';
import { earlyArgument } from './early-config.ts';
import { imageFactoryConfig } from './image-factory.ts';
import { readmeText } from './readme.ts';
import type { Site } from './site.ts';
import { embeddedConfig, machinePatch, olderMachinePatch } from './talos-documents.ts';

export interface HandoffRegistry {
  /** Host with port, as machines reach it. */
  readonly host: string;
  /** Path in front of every repository, or empty. */
  readonly prefix: string;
  readonly plainHttp: boolean;
  /** Repositories have the host they came from in their path. */
  readonly keepHost: boolean;
}

export interface HandoffBucket {
  readonly bucket: string;
  /** URL. */
  readonly endpoint: string;
  readonly region: string;
}

export interface HandoffInput {
  readonly site: Site;
  readonly registry: HandoffRegistry;
  readonly bucket?: HandoffBucket;
  /** PEM of the site's authority, when it has one of its own. */
  readonly ca?: string;
  /** What was loaded, such as `v1.10.4`; undefined when it was not. */
  readonly omniVersion?: string;
  readonly factoryVersion?: string;
  readonly dexVersion?: string;
  /** The newest last. */
  readonly talosVersions: readonly string[];
  readonly kubernetesVersions: readonly string[];
  /** Registries that images came from, such as `quay.io`. */
  readonly imageHosts: readonly string[];
  /** Installers of the public factory were loaded. */
  readonly hasInstallers: boolean;
  /** PEM of the key that images were signed with here. */
  readonly signingKey?: string;
}

export interface HandoffFile {
  readonly name: string;
  readonly text: string;
}

/** All files, in the order of their names. */
export function handoffFiles(input: HandoffInput): readonly HandoffFile[] {
  const { talosVersions, ca, bucket, signingKey } = input;
  const newer = talosVersions.filter((version) => isFromMinor(version, 12));
  const older = talosVersions.filter((version) => !isFromMinor(version, 12));
  const has1_11 = older.some((version) => isFromMinor(version, 11));
  const files: HandoffFile[] = [
    { name: 'README.txt', text: readmeText(input) },
    { name: 'cluster-template.yaml', text: clusterTemplate(input) },
    { name: 'compose.yaml', text: composeFile(input) },
    { name: 'dex.yaml', text: dexConfig(input) },
    { name: 'image-factory.yaml', text: imageFactoryConfig(input, undefined) },
  ];
  if (bucket !== undefined) {
    files.push({ name: 'image-factory-s3.yaml', text: imageFactoryConfig(input, bucket) });
  }
  if (newer.length > 0 || talosVersions.length === 0) {
    files.push({ name: 'air-gap-patch.yaml', text: machinePatch(input) });
    if (ca !== undefined) files.push({ name: 'embedded-config.yaml', text: embeddedConfig(ca) });
  }
  if (older.length > 0) files.push({ name: 'air-gap-patch-1.11.yaml', text: olderMachinePatch(input) });
  if (has1_11 && ca !== undefined) {
    files.push({ name: 'early-argument.txt', text: earlyArgument(ca).text });
  }
  if (ca !== undefined) files.push({ name: 'ca.pem', text: ca });
  if (signingKey !== undefined) files.push({ name: 'cosign.pub', text: signingKey });
  return files.sort((a, b) => (a.name < b.name ? -1 : 1));
}
