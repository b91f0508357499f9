/** What Talos, Omni and the Image Factory name and expect. Nothing here does I/O or imports a sibling. */

export { type HandoffFile, handoffFiles } from './config/handoff.ts';
export type { HandoffBucket, HandoffInput, HandoffRegistry } from './config/handoff-input.ts';
export { type PxeBoot, pxeScript } from './config/pxe.ts';
export { parseSite, type Site } from './config/site.ts';
export {
  type EgressHost,
  type EgressNeeds,
  egressHosts,
  hostPattern,
  type InsidePort,
  insidePorts,
  nodeHosts,
  selfHostedWireguardPort,
} from './egress.ts';
export { TalosError, type TalosErrorCode } from './errors.ts';
export {
  type Installer,
  imagePath,
  installerRepository,
  isTalosctlName,
  officialPath,
  parseInstallerRepository,
  publicFactoryHost,
  pxePath,
  schematicPath,
  talosctlPath,
  versionsPath,
} from './factory.ts';
export {
  type CatalogEntry,
  type Description,
  parseDescriptions,
  parseImageDigests,
  parseOverlays,
} from './images/catalog.ts';
export {
  extensionsCatalog,
  factorySources,
  firstTalosctlVersion,
  imageFactoryImage,
  omniImage,
  overlaysCatalog,
} from './images/factory.ts';
export { fitWarnings, type VersionSet } from './images/fit.ts';
export { knownTalosVersions, kubernetesImages, talosKubernetesImages } from './images/kubernetes.ts';
export {
  type Architecture,
  type BootTarget,
  contentTypeOf,
  formatBootTarget,
  formatMediaName,
  isMediaName,
  type Media,
  parseBootTarget,
  parseMediaName,
} from './media.ts';
export { decodeSchematic, maxSchematicBytes, validateSchematic } from './schematic/decode.ts';
export {
  commonSchematicId,
  type IdentifiedSchematic,
  isSchematicId,
  schematicFrom,
  schematicId,
} from './schematic/encode.ts';
export type { Bootloader, Customization, MetaValue, Overlay, Schematic } from './schematic/model.ts';
export type { Secret } from './secrets/configuration.ts';
export { findSecrets } from './secrets/schematic.ts';
export { compareVersions, isFromMinor, isVersion, parseVersion, type Version, vPrefixed } from './version.ts';
export { YamlMap, type YamlValue } from './yaml/value.ts';
