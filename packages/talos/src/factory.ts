/**
 * Addresses of an Image Factory: paths below its URL (without a leading slash, fit as object-store keys) and
 * repositories of its installers, and its iPXE scripts. Source: siderolabs/image-factory 78e378a48 docs/api.md;
 * ipxe.org/cmd.
 */
import { quoted, TalosError } from './errors.ts';
import { type BootTarget, formatBootTarget, parseMediaName } from './media.ts';
import { isSchematicId } from './schematic/encode.ts';
import { vPrefixed } from './version.ts';

/** The public one. */
export const publicFactoryHost = 'factory.talos.dev';

/** Repository of schematics. Source: internal/schematic/storage/registry/registry.go, and its default configuration. */
export const schematicRepository = 'siderolabs/image-factory/schematics';
/** Of the layer that holds one. */
export const schematicMediaType = 'application/vnd.sidero.dev-image.schematic';

/** Where the list of Talos versions lies. */
export const versionsPath = 'versions';

/** @returns the ID itself @throws BAD_SCHEMATIC */
export function checkedId(schematic: string): string {
  if (isSchematicId(schematic)) return schematic;
  throw new TalosError('BAD_SCHEMATIC', `not a schematic ID (64 hex characters): ${quoted(schematic)}`);
}

/** @throws BAD_SCHEMATIC */
export function schematicPath(schematic: string): string {
  return `schematics/${checkedId(schematic)}`;
}

/** Ends the name of the Sigstore bundle that an Enterprise factory offers beside a media file. */
export const signatureSuffix = '.sigstore.json';

/** @param file media, or the signature of one @throws BAD_SCHEMATIC, BAD_VERSION, BAD_MEDIA_NAME */
export function imagePath(schematic: string, version: string, file: string): string {
  parseMediaName(file.endsWith(signatureSuffix) ? file.slice(0, -signatureSuffix.length) : file);
  return `image/${checkedId(schematic)}/${vPrefixed(version)}/${file}`;
}

/** @throws BAD_SCHEMATIC, BAD_VERSION */
export function pxePath(schematic: string, version: string, target: BootTarget): string {
  return `pxe/${checkedId(schematic)}/${vPrefixed(version)}/${formatBootTarget(target)}`;
}

/** @throws BAD_VERSION */
export function officialPath(version: string, catalog: 'extensions' | 'overlays'): string {
  return `version/${vPrefixed(version)}/${catalog}/official`;
}

/** True for the name of a talosctl binary: `talosctl-linux-amd64`, `talosctl-windows-amd64.exe`. */
export function isTalosctlName(name: string): boolean {
  return name.length <= 100 && /^talosctl-[a-z0-9]+-[a-z0-9]+(?:\.exe)?$/.test(name);
}

/** @throws BAD_VERSION, BAD_MEDIA_NAME */
export function talosctlPath(version: string, file: string): string {
  if (!isTalosctlName(file)) {
    throw new TalosError(
      'BAD_MEDIA_NAME',
      `not the name of a talosctl binary, such as talosctl-linux-amd64: ${quoted(file)}`,
    );
  }
  return `talosctl/${vPrefixed(version)}/${file}`;
}

/** Which installer a repository holds. Without a platform it is the one for metal. */
export interface Installer {
  readonly platform?: string;
  readonly secureboot: boolean;
}

const installerPattern = /^(?:([a-z][a-z0-9]*(?:-[a-z0-9]+)*)-)?installer(-secureboot)?$/;

/** First part of an installer's repository; the schematic ID is the second. @throws BAD_MEDIA_NAME */
export function installerRepository({ platform, secureboot }: Installer): string {
  const name = `${platform === undefined ? '' : `${platform}-`}installer${secureboot ? '-secureboot' : ''}`;
  if (parseInstallerRepository(name) !== undefined) return name;
  throw new TalosError('BAD_MEDIA_NAME', `not a platform: ${quoted(platform ?? '')}`);
}

/** Undefined for another name. */
export function parseInstallerRepository(name: string): Installer | undefined {
  const match = name.length > 100 ? null : installerPattern.exec(name);
  if (match === null) return undefined;
  const [, platform, secureboot] = match;
  return { ...(platform === undefined ? {} : { platform }), secureboot: secureboot !== undefined };
}

export interface PxeBoot {
  /** URL of the kernel; with SecureBoot, of the one signed file that holds all of it. */
  readonly kernel: string;
  /** URL; not with SecureBoot. */
  readonly initramfs?: string;
  /** Kernel arguments, as the factory gives them. */
  readonly cmdline: string;
}

/** The iPXE script of a machine that boots Talos over the network; URLs and arguments are those of the caller. */
export function pxeScript({ kernel, initramfs, cmdline }: PxeBoot): string {
  const lines = [
    'imgfree',
    `kernel ${kernel} ${cmdline.trim().replaceAll(/\s+/g, ' ')}`,
    ...(initramfs === undefined ? [] : [`initrd ${initramfs}`]),
    'boot',
  ];
  return `#!ipxe\n\n${lines.join('\n')}\n`;
}
