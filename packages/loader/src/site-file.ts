/** The `--site` file, and the authority that it names. */
import { dirname, resolve } from 'node:path';
import { CodedError, messageOf } from '@omni-airgap/oci/base';
import { readNamedFile } from '@omni-airgap/oci/fs';
import { parseSite, type Site } from '@omni-airgap/talos';

export interface SiteFile {
  readonly site: Site;
  /** PEM. */
  readonly ca?: string;
}

const maxSiteBytes = 64 * 1024;
const maxCaBytes = 1024 * 1024;

/** A path in it is relative to the file. @throws NO_INPUT; CONFIG with file, line and column */
export async function readSite(path: string): Promise<SiteFile> {
  const bytes = await readNamedFile('--site', path, maxSiteBytes);
  let site: Site;
  try {
    site = parseSite(bytes, path);
  } catch (cause) {
    throw new CodedError('CONFIG', messageOf(cause), { cause });
  }
  if (site.caFile === undefined) return { site };
  const caPath = resolve(dirname(path), site.caFile);
  const ca = (await readNamedFile(`${path}: caFile`, caPath, maxCaBytes)).toString('latin1');
  if (!ca.includes('-----BEGIN CERTIFICATE-----') || ca.includes('PRIVATE KEY')) {
    throw new CodedError('CONFIG', `${path}: caFile ${caPath}: must hold PEM certificates and nothing else`);
  }
  return { site, ca: `${ca.trim()}\n` };
}
