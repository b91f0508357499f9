/**
 * Boot assets of a set whose installer is not in it: machines that boot them ask for the installer of the same schematic,
 * so that they cannot install where nothing builds it. Source: siderolabs/omni internal/backend/installimage.
 */
import { parseArtifact } from '../artifact.ts';
import { installerRepository, parseInstallerRepository, publicFactoryHost } from '../factory.ts';
import { isMediaName, parseMediaName } from '../media.ts';
import { compareVersions } from '../version.ts';

export interface MissingInstaller {
  /** Of the schematic. */
  readonly id: string;
  /** Of Talos, oldest first. */
  readonly versions: readonly string[];
  /** As `media[].installers` of mirror.yaml names them: `metal`, `metal-secureboot`. */
  readonly installers: readonly string[];
}

/**
 * @param carried canonical references; sets of boot assets with the names of their files
 * @param builds whether an Image Factory inside builds a Talos version
 */
export function missingInstallersOf(
  carried: readonly { readonly name: string; readonly files?: readonly string[] | undefined }[],
  builds: (version: string) => boolean,
): readonly MissingInstaller[] {
  const names = new Set(carried.map(({ name }) => name));
  const missing = new Map<string, MissingInstaller>();
  for (const { name, files = [] } of carried) {
    const [, repository = '', tag] = /^factory\.talos\.dev\/(.*):([^:/]+)$/.exec(name) ?? [];
    const media =
      tag === undefined ? undefined : parseArtifact({ registry: publicFactoryHost, repository, tag });
    if (media?.kind !== 'media' || builds(media.version)) continue;
    const { schematic: id, version } = media;
    const installers = [...neededBy(files)]
      .filter((one) => !names.has(`${publicFactoryHost}/${one}/${id}:${version}`))
      .map((one) => one.replace('-installer', ''))
      .sort();
    if (installers.length === 0) continue;
    const key = `${id} ${installers.join()}`;
    const versions = [...(missing.get(key)?.versions ?? []), version].sort(compareVersions);
    missing.set(key, { id, versions, installers });
  }
  return [...missing.values()];
}

/** First parts of repositories. Kernel and initramfs boot metal by PXE. */
function neededBy(files: readonly string[]): ReadonlySet<string> {
  const needed = new Set<string>();
  for (const file of files) {
    const media = isMediaName(file) ? parseMediaName(file) : undefined;
    if (media?.kind === 'initramfs')
      needed.add(installerRepository({ platform: 'metal', secureboot: false }));
    else if (media?.kind === 'iso' || media?.kind === 'uki' || media?.kind === 'disk')
      needed.add(installerRepository({ platform: media.platform, secureboot: media.secureboot }));
  }
  return new Set([...needed].filter((one) => parseInstallerRepository(one) !== undefined));
}
