/**
 * Platforms, compared in their normal form: `linux/arm64` and `linux/arm64/v8` are one, `linux/arm` is `linux/arm/v7`.
 * Sources: containerd/platforms v1.0.0 database.go (normalizeOS, normalizeArch); image-spec v1.1.1 image-index.md, config.md.
 */

import { CodedError } from '../base/errors.ts';

/** As a document names it; compare two of them by formatPlatform. */
export interface Platform {
  readonly os: string;
  readonly architecture: string;
  readonly variant?: string;
}

/** Other names of architectures; some say the variant too. */
const architectures: ReadonlyMap<string, readonly [architecture: string, variant?: string]> = new Map([
  ['i386', ['386', '']],
  ['x86_64', ['amd64']],
  ['x86-64', ['amd64']],
  ['aarch64', ['arm64']],
  ['armhf', ['arm', 'v7']],
  ['armel', ['arm', 'v6']],
]);
/** Variants by another name, or that go without saying. */
const variants: Readonly<Record<string, ReadonlyMap<string, string>>> = {
  amd64: new Map([['v1', '']]),
  arm64: new Map([
    ...['8', 'v8', 'v8.0'].map((text): [string, string] => [text, '']),
    ...['9', '9.0', 'v9.0'].map((text): [string, string] => [text, 'v9']),
  ]),
  arm: new Map([['', 'v7'], ...['5', '6', '7', '8'].map((text): [string, string] => [text, `v${text}`])]),
};

/** Its normal form, as containerd has it. */
export function normalizePlatform(platform: Platform): Platform {
  const os = platform.os.toLowerCase();
  const written = platform.architecture.toLowerCase();
  const [architecture, said = platform.variant?.toLowerCase() ?? ''] = architectures.get(written) ?? [
    written,
  ];
  const known = Object.hasOwn(variants, architecture) ? variants[architecture] : undefined;
  const variant = known?.get(said) ?? said;
  return { os: os === 'macos' ? 'darwin' : os, architecture, ...(variant === '' ? {} : { variant }) };
}

/** The normal form as text: `linux/amd64`, `linux/arm/v7`. Two platforms are the same when their texts are. */
export function formatPlatform(platform: Platform): string {
  const { os, architecture, variant } = normalizePlatform(platform);
  return `${os}/${architecture}${variant === undefined ? '' : `/${variant}`}`;
}

/** @returns the normal form of `os/architecture` or `os/architecture/variant`; undefined for other text */
export function parsePlatform(text: string): Platform | undefined {
  if (!/^[a-z0-9]{1,32}\/[a-z0-9_-]{1,32}(?:\/[a-z0-9._-]{1,32})?$/i.test(text)) return undefined;
  const [os = '', architecture = '', variant = ''] = text.split('/');
  return normalizePlatform({ os, architecture, variant });
}

/**
 * The platform that a descriptor or a configuration names.
 * @returns undefined when it names none: absent, null, empty, or `unknown` as attestations in an index have it
 * @throws BAD_DOCUMENT for other types than the specification has
 */
export function platformFrom(value: unknown, where: string): Platform | undefined {
  if (value === undefined || value === null) return undefined;
  const raw = value as Readonly<Record<string, unknown>>;
  const text = (key: string): string => {
    const member = typeof value === 'object' && !Array.isArray(value) ? (raw[key] ?? '') : undefined;
    if (typeof member === 'string') return member;
    throw new CodedError('BAD_DOCUMENT', `${where}: a platform needs os and architecture`);
  };
  const [os, architecture, variant] = [text('os'), text('architecture'), text('variant')];
  if (os === '' || architecture === '' || os === 'unknown') return undefined;
  return { os, architecture, ...(variant === '' ? {} : { variant }) };
}

/** Whether a child of an index belongs to one of the platforms. One that names none (an attestation) belongs to all. */
export function isOfPlatforms(
  { platform }: { readonly platform?: Platform | undefined },
  platforms: readonly string[],
): boolean {
  if (platform === undefined) return true;
  const name = formatPlatform(platform);
  return platforms.some((text) => {
    const wanted = parsePlatform(text);
    return wanted !== undefined && formatPlatform(wanted) === name;
  });
}
