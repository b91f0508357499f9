/**
 * The folder that `site init --pki` makes. Nothing that exists is replaced: a second run makes what is missing.
 *
 *   ca.pem                       the authority, for everyone who connects
 *   ca-key.pem                   its key: nothing mounts this folder; keep the file offline
 *   log-ins.txt                  passwords that were generated
 *   registry-auth.json           the registry's log-in, for load --registry-config
 *   services/NAME-chain.pem      certificate of a service and of the authority
 *   services/NAME-key.pem        its key
 *   services/omni.asc            encrypts Omni's database
 *   services/signing-key.key     signs what the Image Factory caches
 *   services/omni.env            variables of compose.yaml: account ID, log-ins, license terms
 *   services/registry.htpasswd   the registry's log-in
 */
import { createPrivateKey, type X509Certificate } from 'node:crypto';
import { existsSync } from 'node:fs';
import { chmod } from 'node:fs/promises';
import { join } from 'node:path';
import { CodedError } from '@omni-airgap/oci/base';
import { ensureFolder, readSmallFile, writeNewFile } from '@omni-airgap/oci/fs';
import {
  type Authority,
  authorityCertificate,
  checkKey,
  missingNames,
  newKey,
  newSigningKey,
  readCertificate,
  serverChain,
} from './certificates.ts';
import { databaseKey } from './database-key.ts';

const maxFileBytes = 1024 * 1024;
const dayMs = 24 * 60 * 60 * 1000;
/** Expiry within so many days is pointed out. */
const warnDays = 90;

export interface ServiceFiles {
  /** As certificates of the site file names it. */
  readonly service: string;
  /** DNS names and IP addresses that clients use. */
  readonly names: readonly string[];
  readonly chain: string;
  readonly key: string;
  /** False for files of the site's own PKI: these are checked, never made. */
  readonly isOurs: boolean;
}

export interface Expiry {
  readonly path: string;
  /** ISO 8601. */
  readonly expires: string;
  /** Negative when it has expired. */
  readonly daysLeft: number;
}

/** What happened to the files of a site. */
export class FileTally {
  readonly made: string[] = [];
  readonly present: string[] = [];
  readonly certificates: Expiry[] = [];
  /** What would not work, each with the remedy. */
  readonly problems: string[] = [];

  /** Makes a file unless it exists. @returns its text */
  async make(path: string, mode: number, content: () => Promise<string> | string): Promise<string> {
    const existing = await readText(path);
    if (existing !== undefined) {
      this.present.push(path);
      return existing;
    }
    const text = await content();
    if (await writeNewFile(path, text, mode)) {
      this.made.push(path);
      return text;
    }
    this.present.push(path);
    return (await readText(path)) ?? text;
  }

  /** Takes down when a certificate expires. */
  addExpiry(path: string, certificate: X509Certificate, now: Date): void {
    const expires = new Date(certificate.validTo);
    const daysLeft = Math.floor((expires.getTime() - now.getTime()) / dayMs);
    this.certificates.push({ path, expires: expires.toISOString(), daysLeft });
    if (daysLeft < 0)
      this.problems.push(`${path}: expired ${expires.toISOString().slice(0, 10)}; ${renewal(path)}`);
  }
}

/** Certificates that expire soon, for a note. */
export function expiresSoon({ daysLeft }: Expiry): boolean {
  return daysLeft >= 0 && daysLeft < warnDays;
}

function renewal(path: string): string {
  return `to renew, remove ${path} and run the same command again`;
}

/** @returns undefined when there is none */
export async function readText(path: string): Promise<string | undefined> {
  const bytes = await readSmallFile(path, maxFileBytes);
  return bytes === undefined ? undefined : Buffer.from(bytes).toString('utf8');
}

/** Makes the folders; nobody else may enter that of the authority's key. */
export async function makePrivateFolders(folder: string): Promise<void> {
  for (const path of [folder, join(folder, 'services')]) {
    const isNew = !existsSync(path);
    await ensureFolder(path);
    if (isNew) await chmod(path, 0o700);
  }
}

/**
 * The authority, and a certificate for each service that has none.
 * @param site names the authority
 * @throws CONFIG when a certificate is wanted and the authority's key is not here
 */
export async function makeCertificates(
  folder: string,
  site: string,
  services: readonly ServiceFiles[],
  tally: FileTally,
  now: Date,
): Promise<void> {
  const authority = await makeAuthority(folder, site, services, tally, now);
  for (const service of services.filter(({ isOurs }) => isOurs)) {
    const { names, chain, key } = service;
    const keyText = await tally.make(key, 0o600, newKey);
    checkKey(keyText, key);
    await tally.make(chain, 0o644, () => {
      if (authority.key === undefined) throw missingAuthorityKey(folder, chain);
      return serverChain({ certificate: authority.certificate, key: authority.key }, keyText, names, now);
    });
  }
}

async function makeAuthority(
  folder: string,
  site: string,
  services: readonly ServiceFiles[],
  tally: FileTally,
  now: Date,
): Promise<Omit<Authority, 'key'> & { readonly key: string | undefined }> {
  const [path, keyPath] = [join(folder, 'ca.pem'), join(folder, 'ca-key.pem')];
  const [certificate, key] = await Promise.all([readText(path), readText(keyPath)]);
  if (certificate !== undefined && key === undefined) {
    // It may be in a safe: then everything is refused that needs it, before anything is made.
    for (const { chain, isOurs } of services)
      if (isOurs && (await readText(chain)) === undefined) throw missingAuthorityKey(folder, chain);
    tally.present.push(path);
    tally.addExpiry(path, readCertificate(certificate, path), now);
    return { certificate, key: undefined };
  }
  const keyText = await tally.make(keyPath, 0o600, newKey);
  checkKey(keyText, keyPath);
  const made = await tally.make(path, 0o644, () => authorityCertificate(keyText, site, now));
  const parsed = readCertificate(made, path);
  if (!parsed.checkPrivateKey(createPrivateKey(keyText)))
    throw new CodedError('CONFIG', `${keyPath}: is not the key of ${path}; put the right one there`);
  tally.addExpiry(path, parsed, now);
  return { certificate: made, key: keyText };
}

function missingAuthorityKey(folder: string, chain: string): CodedError {
  return new CodedError(
    'CONFIG',
    `${join(folder, 'ca-key.pem')}: no such file, and ${chain} cannot be made without it; put the key of ca.pem back for this run`,
  );
}

/**
 * Whether the certificates of all services do what the site file says: names, key, issuer, expiry.
 * @param ca PEM of the authority; undefined to leave the issuer out
 */
export async function inspectCertificates(
  services: readonly ServiceFiles[],
  ca: string | undefined,
  caPath: string,
  tally: FileTally,
  now: Date,
): Promise<void> {
  const issuer = ca === undefined ? undefined : readCertificate(ca, caPath);
  for (const { names, chain, key, isOurs } of services) {
    const [text, keyText] = await Promise.all([readText(chain), readText(key)]);
    if (text === undefined || keyText === undefined) {
      tally.problems.push(`${text === undefined ? chain : key}: no such file`);
      continue;
    }
    const certificate = readCertificate(text, chain);
    tally.addExpiry(chain, certificate, now);
    const remedy = isOurs ? `remove it and run the same command again` : 'issue another certificate';
    const lacking = missingNames(
      certificate,
      isOurs ? names : names.filter((name) => !loopback.includes(name)),
    );
    if (lacking.length > 0) tally.problems.push(`${chain}: is not for ${lacking.join(', ')}; ${remedy}`);
    if (!isKeyOf(certificate, keyText)) tally.problems.push(`${key}: is not the key of ${chain}; ${remedy}`);
    // An intermediate authority of the site's own is between the two: only what we issued is compared.
    if (isOurs && issuer !== undefined && !certificate.verify(issuer.publicKey))
      tally.problems.push(`${chain}: was not issued by ${caPath}; ${remedy}`);
  }
}

/** Checks on the host itself use these. */
export const loopback: readonly string[] = ['localhost', '127.0.0.1'];

function isKeyOf(certificate: X509Certificate, key: string): boolean {
  try {
    return certificate.checkPrivateKey(createPrivateKey(key));
  } catch {
    return false;
  }
}

/** The keys that Omni and the Image Factory keep. @param email the identity of Omni's key */
export async function makeServiceKeys(
  folder: string,
  email: string,
  tally: FileTally,
  now: Date,
): Promise<void> {
  await tally.make(join(folder, 'services', 'omni.asc'), 0o600, () => databaseKey(email, now));
  await tally.make(join(folder, 'services', 'signing-key.key'), 0o600, newSigningKey);
}
