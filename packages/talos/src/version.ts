/** Versions of Talos, Omni, Kubernetes and the Image Factory: `v1.13.9`, `1.14.0-rc.1`. Source: semver 2.0.0. */
import { quoted, TalosError } from './errors.ts';

export interface Version {
  readonly major: number;
  readonly minor: number;
  readonly patch: number;
  /** Dot-separated, such as `rc.1`; empty for a release. */
  readonly prerelease: string;
}

const maxLength = 64;
/** No build metadata: a tag cannot have the plus sign. */
const pattern =
  /^v?(0|[1-9][0-9]{0,8})\.(0|[1-9][0-9]{0,8})\.(0|[1-9][0-9]{0,8})(?:-((?:0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*)(?:\.(?:0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*))*))?$/;

/** @param text with or without the leading `v` @throws BAD_VERSION */
export function parseVersion(text: string): Version {
  const match = text.length > maxLength ? null : pattern.exec(text);
  if (match === null) {
    throw new TalosError('BAD_VERSION', `not a version, which looks like v1.13.9: ${quoted(text)}`);
  }
  const [, major, minor, patch, prerelease = ''] = match;
  return { major: Number(major), minor: Number(minor), patch: Number(patch), prerelease };
}

/** True for `v1.13.9` and `1.14.0-rc.1`. */
export function isVersion(text: string): boolean {
  return text.length <= maxLength && pattern.test(text);
}

/** The form of tags. @throws BAD_VERSION */
export function vPrefixed(text: string): string {
  const { major, minor, patch, prerelease } = parseVersion(text);
  return `v${major}.${minor}.${patch}${prerelease === '' ? '' : `-${prerelease}`}`;
}

function comparePrerelease(a: string, b: string): number {
  if (a === '' || b === '') return Number(a === '') - Number(b === '');
  const [left, right] = [a.split('.'), b.split('.')];
  for (let i = 0; i < Math.max(left.length, right.length); i++) {
    const [x, y] = [left[i], right[i]];
    if (x === undefined || y === undefined) return x === undefined ? -1 : 1;
    if (x === y) continue;
    const [xNumber, yNumber] = [/^[0-9]+$/.test(x), /^[0-9]+$/.test(y)];
    if (xNumber !== yNumber) return xNumber ? -1 : 1;
    if (xNumber && x.length !== y.length) return x.length - y.length;
    return x < y ? -1 : 1;
  }
  return 0;
}

/** For sorting, in semver's order: negative when `a` is older. @throws BAD_VERSION */
export function compareVersions(a: string, b: string): number {
  const [left, right] = [parseVersion(a), parseVersion(b)];
  return (
    left.major - right.major ||
    left.minor - right.minor ||
    left.patch - right.patch ||
    comparePrerelease(left.prerelease, right.prerelease)
  );
}

/** True when the version is of the minor release `1.<minor>` or later, its alphas and betas included. */
export function isFromMinor(version: string, minor: number): boolean {
  const parsed = parseVersion(version);
  return parsed.major > 1 || (parsed.major === 1 && parsed.minor >= minor);
}
