/**
 * Names of media files, which say what the Image Factory builds.
 * Source: siderolabs/image-factory 78e378a48 internal/profile/profile.go, internal/mime/mime.go. Stricter than the
 * factory, whose names for one file are several (`x86_64` for `amd64`): one name, one file.
 */
import { quoted, TalosError } from './errors.ts';

const architectures = ['amd64', 'arm64'] as const;
export type Architecture = (typeof architectures)[number];

/**
 * Platforms that the Image Factory builds for. Those of a newer Talos release are missing here.
 * Source: siderolabs/talos ad8823176 pkg/machinery/platforms/platforms.go; equinixMetal has no boot assets of its own.
 */
export const knownPlatforms: readonly string[] = [
  'metal',
  'akamai',
  'alibabacloud',
  'aws',
  'azure',
  'cloudstack',
  'digital-ocean',
  'exoscale',
  'gcp',
  'hcloud',
  'nocloud',
  'opennebula',
  'openstack',
  'oracle',
  'scaleway',
  'upcloud',
  'vmware',
  'vultr',
];

/** What a machine boots: `metal-amd64`, `aws-arm64-secureboot`. */
export interface BootTarget {
  readonly platform: string;
  readonly arch: Architecture;
  readonly secureboot: boolean;
}

export type Media =
  | { readonly kind: 'kernel' | 'initramfs'; readonly arch: Architecture }
  | ({ readonly kind: 'cmdline' | 'iso' | 'uki' } & BootTarget)
  /** Without a platform it is the one for metal. */
  | ({ readonly kind: 'installer' } & Omit<BootTarget, 'platform'> & { readonly platform?: string })
  /** `format` as it ends the name: `raw.xz`, `qcow2`, `ova`. */
  | ({ readonly kind: 'disk'; readonly format: string } & BootTarget);

const maxLength = 100;
const targetPattern = /^([a-z][a-z0-9]*(?:-[a-z0-9]+)*)-(amd64|arm64)(-secureboot)?$/;
const bareInstallerPattern = /^installer-(amd64|arm64)(-secureboot)?$/;
const diskPattern = /^([a-z0-9-]+)\.((?:raw|qcow2|vhd|ova)(?:\.tar\.gz|\.gz|\.xz|\.zst)?)$/;
/** Words that begin the name of another kind. */
const reserved = new Set(['kernel', 'cmdline', 'initramfs', 'installer']);

function isArchitecture(text: string): text is Architecture {
  return architectures.some((arch) => arch === text);
}

function isPlatform(text: string): boolean {
  return !reserved.has(text.split('-')[0] ?? '') && !text.endsWith('-installer');
}

function targetOf(text: string): BootTarget | undefined {
  const [, platform = '', arch = '', secureboot] = targetPattern.exec(text) ?? [];
  if (!isArchitecture(arch) || !isPlatform(platform)) return undefined;
  return { platform, arch, secureboot: secureboot !== undefined };
}

function mediaOf(name: string): Media | undefined {
  if (name.length > maxLength) return undefined;
  if (name.startsWith('kernel-')) {
    const arch = name.slice('kernel-'.length);
    return isArchitecture(arch) ? { kind: 'kernel', arch } : undefined;
  }
  if (name.startsWith('initramfs-')) {
    const arch = cutSuffix(name.slice('initramfs-'.length), '.xz') ?? '';
    return isArchitecture(arch) ? { kind: 'initramfs', arch } : undefined;
  }
  if (name.startsWith('cmdline-')) return of('cmdline', name.slice('cmdline-'.length));
  const iso = cutSuffix(name, '.iso');
  if (iso !== undefined) return of('iso', iso);
  const uki = cutSuffix(name, '-uki.efi');
  if (uki !== undefined) return of('uki', uki);
  const installer = cutSuffix(name, '.tar');
  if (installer !== undefined) return installerOf(installer);
  const [, target = '', format = ''] = diskPattern.exec(name) ?? [];
  const disk = targetOf(target);
  return disk === undefined ? undefined : { kind: 'disk', format, ...disk };
}

function of(kind: 'cmdline' | 'iso' | 'uki', text: string): Media | undefined {
  const target = targetOf(text);
  return target === undefined ? undefined : { kind, ...target };
}

function installerOf(text: string): Media | undefined {
  const [, bare = '', bareSecureboot] = bareInstallerPattern.exec(text) ?? [];
  if (isArchitecture(bare)) {
    return { kind: 'installer', arch: bare, secureboot: bareSecureboot !== undefined };
  }
  if (!text.includes('-installer-')) return undefined;
  const target = targetOf(text.replace('-installer-', '-'));
  return target === undefined ? undefined : { kind: 'installer', ...target };
}

function cutSuffix(text: string, suffix: string): string | undefined {
  return text.endsWith(suffix) ? text.slice(0, -suffix.length) : undefined;
}

/** True for the name of a media file: strict ASCII lower case, no path, at most 100 characters. */
export function isMediaName(name: string): boolean {
  return mediaOf(name) !== undefined;
}

/** @throws BAD_MEDIA_NAME */
export function parseMediaName(name: string): Media {
  const media = mediaOf(name);
  if (media !== undefined) return media;
  throw new TalosError(
    'BAD_MEDIA_NAME',
    `not the name of a media file, such as metal-amd64.iso or initramfs-amd64.xz: ${quoted(name)}`,
  );
}

/** The last part of a PXE address. @throws BAD_MEDIA_NAME */
export function parseBootTarget(text: string): BootTarget {
  const target = text.length > maxLength ? undefined : targetOf(text);
  if (target !== undefined) return target;
  throw new TalosError('BAD_MEDIA_NAME', `not <platform>-<arch>[-secureboot]: ${quoted(text)}`);
}

export function formatBootTarget({ platform, arch, secureboot }: BootTarget): string {
  return `${platform}-${arch}${secureboot ? '-secureboot' : ''}`;
}

/** Content-Type by the end of the name, as the factory answers. */
export function contentTypeOf(name: string): string {
  if (name.endsWith('.efi')) return 'application/efi';
  if (name.endsWith('.iso')) return 'application/x-iso9660-image';
  if (name.endsWith('.xz')) return 'application/x-xz';
  if (name.endsWith('.gz')) return 'application/gzip';
  if (name.endsWith('.qcow2')) return 'application/x-qemu-disk';
  return 'application/octet-stream';
}
