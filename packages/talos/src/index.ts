/** What Talos, Omni and the Image Factory name and expect. Nothing here does I/O or imports a sibling. */

export { handoffFiles } from './config/handoff.ts';
export type { HandoffInput } from './config/handoff-input.ts';
export { pxeScript } from './config/pxe.ts';
export { parseSite, type Site } from './config/site.ts';
export {
  type EgressHost,
  egressHosts,
  hostPattern,
  type InsidePort,
  insidePorts,
  nodeHosts,
  selfHostedWireguardPort,
} from './egress.ts';
export { TalosError } from './errors.ts';
export {
  type Installer,
  imagePath,
  installerRepository,
  isTalosctlName,
  officialPath,
  parseInstallerRepository,
  publicFactoryHost,
  pxePath,
  schematicMediaType,
  schematicPath,
  schematicRepository,
  talosctlPath,
  versionsPath,
} from './factory.ts';
export { type CatalogEntry, parseImageDigests, parseOverlays } from './images/catalog.ts';
export {
  extensionsCatalog,
  factorySources,
  firstTalosctlVersion,
  imageFactoryImage,
  omniImage,
  overlaysCatalog,
} from './images/factory.ts';
export { fitWarnings } from './images/fit.ts';
export { kubernetesImages, talosKubernetesImages } from './images/kubernetes.ts';
export { sideroIssuer, sideroPrefix, sideroSigners } from './images/signers.ts';
export {
  type Architecture,
  contentTypeOf,
  formatBootTarget,
  isMediaName,
  type Media,
  parseBootTarget,
  parseMediaName,
} from './media.ts';
export { nearestName } from './nearest.ts';
export { decodeSchematic, maxSchematicBytes, validateSchematic } from './schematic/decode.ts';
export {
  commonSchematicId,
  type IdentifiedSchematic,
  isSchematicId,
  schematicFrom,
  schematicId,
} from './schematic/encode.ts';
export type { Overlay, Schematic } from './schematic/model.ts';
export type { Secret } from './secrets/configuration.ts';
export { findSecrets } from './secrets/schematic.ts';
export { compareVersions, isVersion, parseVersion, type Version, vPrefixed } from './version.ts';
export { parseYamlFile, type YamlFile } from './yaml/strict.ts';
