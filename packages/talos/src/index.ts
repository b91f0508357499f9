/** What Talos, Omni and the Image Factory name and expect. Nothing here does I/O or imports a sibling. */

export {
  type Artifact,
  artifactName,
  artifactPath,
  catalogArtifactType,
  type ListName,
  mediaArtifactType,
  parseArtifact,
} from './artifact.ts';
export {
  type EgressHost,
  egressHosts,
  hostPattern,
  type InsidePort,
  insidePorts,
  nodeHosts,
  selfHostedWireguardPort,
} from './egress.ts';
export { nearestName, TalosError } from './errors.ts';
export {
  type Installer,
  imagePath,
  installerRepository,
  isTalosctlName,
  officialPath,
  parseInstallerRepository,
  publicFactoryHost,
  pxePath,
  pxeScript,
  schematicMediaType,
  schematicPath,
  schematicRepository,
  signatureSuffix,
  talosctlPath,
  versionsPath,
} from './factory.ts';
export { faultOfFile, firstBytes } from './first-bytes.ts';
export { handoffFiles } from './handoff/files.ts';
export type { CarriedSchematic, HandoffInput } from './handoff/input.ts';
export { registryUnit, registryUnitName } from './handoff/systemd.ts';
export { type CatalogEntry, parseImageDigests, parseOverlays } from './images/catalog.ts';
export { type ProductVersions, versionsOf } from './images/products.ts';
export {
  checkKubernetesList,
  extensionsCatalog,
  factorySources,
  firstTalosctlVersion,
  imageFactoryImage,
  knownTalosVersions,
  kubernetesImages,
  omniImage,
  overlaysCatalog,
  sideroIssuer,
  sideroPrefix,
  sideroSigners,
  talosKubernetesImages,
} from './images/sets.ts';
export { connections, type Subject, siteUrl, unmetDemands } from './inside/demands.ts';
export {
  type CarriedName,
  factoryWays,
  type InsideFacts,
  type InsideFinding,
  insideFindings,
  insideRefusal,
  type RegistryRules,
  type SiteFacts,
} from './inside/findings.ts';
export { denialOf, fitWarnings, needsPrereleases, prereleaseFlag } from './inside/fit.ts';
export { isDemanding, unofferedParts } from './inside/offer.ts';
export { type ReachedRegistry, registryOfSite, registryUrl } from './inside/registry.ts';
export {
  type LogIn,
  logIns,
  omniVariables,
  serviceNames,
  wireguardEndpoint,
} from './inside/services.ts';
export { parseSite } from './inside/site-file.ts';
export { type SiteAnswers, siteText } from './inside/site-text.ts';
export { type NeededTool, neededTools } from './inside/tools.ts';
export {
  leavingVersions,
  productsToUpgrade,
  type UpgradePath,
  type UpgradeStep,
  upgradeOrder,
  upgradePaths,
} from './inside/upgrade.ts';
export {
  type Architecture,
  contentTypeOf,
  formatBootTarget,
  isMediaName,
  knownPlatforms,
  type Media,
  parseBootTarget,
  parseMediaName,
} from './media.ts';
export { parseRunning, type Running } from './running.ts';
export { decodeSchematic, maxSchematicBytes, validateSchematic } from './schematic/decode.ts';
export {
  commonSchematicId,
  type IdentifiedSchematic,
  isSchematicId,
  type SpelledSchematic,
  schematicFrom,
  schematicId,
  spelledSchematics,
} from './schematic/encode.ts';
export type { Overlay, Schematic } from './schematic/model.ts';
export { findSecrets, findSecretsInText, type Secret } from './schematic/secrets.ts';
export { knownFactory, type Spelling, spellingOf } from './schematic/spelling.ts';
export type { CertificateFiles, Site, SiteService } from './site.ts';
export { compareVersions, isFromMinor, isVersion, parseVersion, type Version, vPrefixed } from './version.ts';
export { type AddedItems, insertItems } from './yaml/insert.ts';
export { parseYamlFile, type YamlFile } from './yaml/strict.ts';
