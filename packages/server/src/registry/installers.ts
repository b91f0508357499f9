/**
 * Repositories of Talos installers, named by a schematic: `metal-installer/<id>`, `installer-secureboot/<id>`.
 * Source: siderolabs/image-factory 78e378a48 internal/frontend/http/registry.go (getRequestedImage, resolveLatest).
 */
import {
  compareVersions,
  type Installer,
  installerRepository,
  isSchematicId,
  isVersion,
  parseInstallerRepository,
  parseVersion,
} from '@omni-airgap/talos';

export interface InstallerPath extends Installer {
  /** First part of the path: `metal-installer`. */
  readonly name: string;
  readonly schematic: string;
}

/** Undefined for other repositories; one with its registry host in front is another. */
export function parseInstallerPath(path: string): InstallerPath | undefined {
  const [name = '', schematic = '', ...more] = path.split('/');
  const installer = parseInstallerRepository(name);
  if (installer === undefined || more.length > 0 || !isSchematicId(schematic)) return undefined;
  return { ...installer, name, schematic };
}

/** The installer without a platform is the one for metal: the path under its other name. */
export function otherInstallerName(path: string): string | undefined {
  const installer = parseInstallerPath(path);
  if (installer === undefined) return undefined;
  const { platform, secureboot, schematic } = installer;
  if (platform === undefined) return `${installerRepository({ platform: 'metal', secureboot })}/${schematic}`;
  return platform === 'metal' ? `${installerRepository({ secureboot })}/${schematic}` : undefined;
}

/** The newest version that is no pre-release. */
export function newestRelease(tags: Iterable<string>): string | undefined {
  return [...tags]
    .filter((tag) => isVersion(tag) && parseVersion(tag).prerelease === '')
    .sort(compareVersions)
    .at(-1);
}
