/** Lists of Talos versions, as the Image Factory answers them: what a site has and what comes are united. */
import { CodedError, parseStrictJson } from '@omni-airgap/oci/base';
import { compareVersions, isVersion } from '@omni-airgap/talos';

/** Some ten thousand versions. */
export const maxVersionListBytes: number = 1024 * 1024;

/** The JSON array of all versions of both, the oldest first. @throws BAD_DOCUMENT */
export function uniteVersions(ours: Uint8Array, theirs: Uint8Array): Uint8Array {
  const what = 'list of Talos versions';
  const versions = new Set([...parseVersionList(theirs, what), ...parseVersionList(ours, what)]);
  return Buffer.from(`${JSON.stringify([...versions].sort(compareVersions))}\n`);
}

/** @throws BAD_DOCUMENT */
export function parseVersionList(bytes: Uint8Array, what: string): readonly string[] {
  const value = parseStrictJson(bytes, { what });
  if (Array.isArray(value)) {
    const versions = value.filter((one) => typeof one === 'string' && isVersion(one)) as string[];
    if (versions.length === value.length) return versions;
  }
  throw new CodedError('BAD_DOCUMENT', `${what}: not a JSON array of versions`);
}
