/**
 * `site init`: a site.yaml from what only the site knows, and with a folder for it the site's authority, certificates,
 * keys and log-ins. Nothing that exists is replaced, so the same command again makes what is missing.
 */
import { dirname, isAbsolute, join, relative, resolve } from 'node:path';
import { CodedError, messageOf } from '@omni-airgap/oci/base';
import { readInput, readNamedFile, textBytes, writeOutput } from '@omni-airgap/oci/fs';
import {
  type CertificateFiles,
  logIns,
  parseSite,
  registryUnit,
  registryUnitName,
  registryUrl,
  type Site,
  type SiteService,
  serviceNames,
  siteText,
} from '@omni-airgap/talos';
import { type Ask, checkedAnswers, collectAnswers, emailAddress, type GivenAnswers } from './answers.ts';
import { readCertificate } from './certificates.ts';
import { checkVariable, makeCredentials, registryHashes } from './credentials.ts';
import { checkPassword } from './log-ins.ts';
import {
  type Expiry,
  expiresSoon,
  FileTally,
  inspectCertificates,
  loopback,
  makeCertificates,
  makePrivateFolders,
  makeServiceKeys,
  readText,
  type ServiceFiles,
} from './site-folder.ts';

export type { Ask } from './answers.ts';

export interface SiteInit {
  /** Path of the site file. */
  readonly site: string;
  /** Folder for authority, certificates, keys and log-ins; undefined to make none. */
  readonly pki?: string | undefined;
  readonly answers: GivenAnswers;
  /** Path of a file whose first line is the password of the only user. */
  readonly passwordFile?: string | undefined;
  /** Makes a log-in for the registry. */
  readonly registryUser?: string | undefined;
  readonly eulaName?: string | undefined;
  readonly eulaEmail?: string | undefined;
  /** Absolute path of this program, for the unit that runs it as the registry; undefined for no unit. */
  readonly program?: string | undefined;
  /** Asks on a terminal what no flag gave; undefined where there is none. */
  readonly ask?: Ask | undefined;
  readonly now?: Date;
}

export interface SiteInitReport {
  readonly site: string;
  /** Paths that were written, and that existed. */
  readonly made: readonly string[];
  readonly present: readonly string[];
  /** Every certificate that the site file names, and when it expires. */
  readonly certificates: readonly (Expiry & { readonly soon: boolean })[];
  /** Lines that the existing site file lacks. */
  readonly missingLines: readonly string[];
  /** What would not work, each with its remedy. */
  readonly problems: readonly string[];
}

const maxSiteBytes = 64 * 1024;

/**
 * @throws USAGE, CONFIG, NO_INPUT for what cannot be used, before anything is written; CONFLICT when the site file exists
 * and says something else than a flag; DISK
 */
export async function initSite(options: SiteInit): Promise<SiteInitReport> {
  const { site: path, pki: folder, ask, now = new Date() } = options;
  const password = await givenPassword(options.passwordFile);
  const tally = new FileTally();
  const existing = await readInput('--site', path, maxSiteBytes);
  if (existing !== undefined) refuseContradictions(readSite(existing, path), options.answers, path);
  const text = existing === undefined ? await newSiteText(options, folder) : undefined;
  const site = readSite(existing ?? text ?? '', path);
  if (password !== undefined && logIns(site).length > 1)
    throw new CodedError(
      'USAGE',
      '--password-file is for one --user; leave it out to be asked, or to have passwords generated',
    );
  if (password !== undefined && site.oidc !== undefined)
    throw new CodedError('USAGE', `--password-file is for dex; people log in at ${site.oidc.issuer}`);
  const oidcSecret =
    folder === undefined || site.oidc === undefined
      ? undefined
      : await clientSecret(below(dirname(path), site.oidc.clientSecretFile));
  const eula = folder === undefined ? {} : await eulaOf(options);
  if (text !== undefined) {
    if (!(await writeOutput('--site', path, text, { isNew: true })))
      throw new CodedError('CONFLICT', `${path}: was made by another process; run the same command again`);
    tally.made.push(path);
  } else tally.present.push(path);
  const services = servicesOf(site, dirname(path), folder);
  if (folder !== undefined) {
    if (site.omni === undefined) throw new CodedError('CONFIG', `${path}: omni is missing; add its URL`);
    await makePrivateFolders(folder);
    await makeCertificates(folder, new URL(site.omni).hostname, services, tally, now);
    await makeServiceKeys(folder, logIns(site)[0]?.email ?? '', tally, now);
    const { registryUser: user } = options;
    if (user !== undefined && site.registry === undefined)
      throw new CodedError('CONFIG', `${path}: registry is missing; --registry-user makes a log-in for it`);
    await makeCredentials(
      {
        folder,
        // Those who log in elsewhere have their passwords there.
        logIns: site.oidc === undefined ? logIns(site) : [],
        oidcSecret,
        passwordOf: async (email) => password ?? (await askedPassword(email, ask)),
        eula,
        registry:
          user === undefined || site.registry === undefined ? undefined : { host: site.registry.host, user },
      },
      tally,
    );
  }
  await inspect(site, dirname(path), folder, services, tally, now);
  if (folder !== undefined) await makeRegistryUnit(options, site, services, registryHashes(folder), tally);
  return {
    site: path,
    made: [...new Set(tally.made)],
    present: [...new Set(tally.present)],
    certificates: tally.certificates.map((one) => ({ ...one, soon: expiresSoon(one) })),
    missingLines: folder === undefined ? [] : missingLines(site, path, folder, services),
    problems: tally.problems,
  };
}

function readSite(text: string | Uint8Array, path: string): Site {
  try {
    return parseSite(typeof text === 'string' ? text : textBytes(text, `--site ${path}`), path);
  } catch (cause) {
    throw new CodedError('CONFIG', messageOf(cause), { cause });
  }
}

/** A flag never changes a file that exists, and is never ignored. @throws CONFLICT, USAGE */
function refuseContradictions(site: Site, given: GivenAnswers, path: string): void {
  const { registry } = site;
  const url =
    registry &&
    registryUrl({ ...registry, prefix: registry.prefix ?? '', plainHttp: registry.plainHttp === true });
  for (const [key, value] of Object.entries(checkedAnswers(given)) as [keyof Site, unknown][]) {
    const existing = key === 'registry' ? url : site[key];
    if (JSON.stringify(existing) === JSON.stringify(value)) continue;
    const shown = typeof existing === 'string' ? existing : JSON.stringify(existing);
    const says = existing === undefined ? `has no ${key}` : `says ${key}: ${shown}`;
    throw new CodedError(
      'CONFLICT',
      `${path}: already exists and ${says}; change it there, or leave the flag out`,
    );
  }
}

async function newSiteText(
  { answers, ask, site: path }: SiteInit,
  folder: string | undefined,
): Promise<string> {
  const collected = await collectAnswers(answers, ask);
  const plain = siteText(collected);
  if (folder === undefined) return plain;
  const site = readSite(plain, path);
  const files = namedFiles(dirname(path), folder);
  const certificates: Partial<Record<SiteService, CertificateFiles>> = {};
  for (const service of serviceNames(site).keys()) certificates[service] = files.certificate(service);
  return siteText({
    ...collected,
    caFile: collected.caFile ?? files.ca,
    certificates,
    secrets: files.secrets,
    users: collected.users ?? logIns(site).map(({ email }) => email),
  });
}

/** How a site file in one folder names what is in another. */
function namedFiles(
  from: string,
  folder: string,
): { readonly ca: string; readonly secrets: string; certificate(service: SiteService): CertificateFiles } {
  const name = (...parts: readonly string[]): string => {
    const path = relative(resolve(from), resolve(folder, ...parts));
    return isAbsolute(path) ? path : path.replaceAll('\\', '/');
  };
  if (/[^\x21-\x7e]|["'`$\\]/.test(name('services')))
    throw new CodedError(
      'USAGE',
      `--pki ${folder}: use a path without spaces and quotes; the site file must name it`,
    );
  return {
    ca: name('ca.pem'),
    secrets: name('services'),
    certificate: (service) => ({
      chain: name('services', `${service}-chain.pem`),
      key: name('services', `${service}-key.pem`),
    }),
  };
}

/** The services that have, or get, a certificate. */
function servicesOf(site: Site, base: string, folder: string | undefined): readonly ServiceFiles[] {
  return [...serviceNames(site)].flatMap(([service, names]) => {
    const named = site.certificates?.[service];
    const ours =
      folder === undefined
        ? undefined
        : {
            chain: join(folder, 'services', `${service}-chain.pem`),
            key: join(folder, 'services', `${service}-key.pem`),
          };
    const files =
      named === undefined ? ours : { chain: below(base, named.chain), key: below(base, named.key) };
    if (files === undefined) return [];
    const isOurs = ours !== undefined && isSame(files.chain, ours.chain) && isSame(files.key, ours.key);
    return [{ service, names: [...names, ...loopback], ...files, isOurs }];
  });
}

function below(base: string, path: string): string {
  return isAbsolute(path) ? path : join(base, path);
}

function isSame(a: string, b: string): boolean {
  return resolve(a) === resolve(b);
}

async function inspect(
  site: Site,
  base: string,
  folder: string | undefined,
  services: readonly ServiceFiles[],
  tally: FileTally,
  now: Date,
): Promise<void> {
  const caPath = site.caFile === undefined ? undefined : below(base, site.caFile);
  const ours = folder === undefined ? undefined : join(folder, 'ca.pem');
  if (caPath !== undefined && (ours === undefined || !isSame(caPath, ours))) {
    const text = await readText(caPath);
    if (text === undefined) tally.problems.push(`${caPath}: no such file, but ${site.caFile} is its caFile`);
    else tally.addExpiry(caPath, readCertificate(text, caPath), now);
  }
  await inspectCertificates(
    services,
    ours === undefined ? undefined : await readText(ours),
    ours ?? '',
    tally,
    now,
  );
}

/** A unit that runs this program as the registry, beside the site file. */
async function makeRegistryUnit(
  { site: path, program }: SiteInit,
  site: Site,
  services: readonly ServiceFiles[],
  hashes: string,
  tally: FileTally,
): Promise<void> {
  const files = services.find(({ service }) => service === 'registry');
  if (program === undefined || files === undefined) return;
  const htpasswd = (await readText(hashes)) === undefined ? undefined : resolve(hashes);
  const absolute = { chain: resolve(files.chain), key: resolve(files.key), htpasswd };
  const unit = registryUnit(site, program, absolute);
  if (unit !== undefined) await tally.make(join(dirname(path), registryUnitName), 0o644, () => unit);
}

function missingLines(
  site: Site,
  path: string,
  folder: string,
  services: readonly ServiceFiles[],
): readonly string[] {
  const files = namedFiles(dirname(path), folder);
  const certificates = services.filter(
    ({ service, isOurs }) => isOurs && site.certificates?.[service as SiteService] === undefined,
  );
  return [
    ...(site.caFile === undefined ? [`caFile: ${files.ca}`] : []),
    ...(site.secrets === undefined ? [`secrets: ${files.secrets}`] : []),
    ...(certificates.length === 0 || site.certificates !== undefined ? [] : ['certificates:']),
    ...certificates.map(({ service }) => {
      const { chain, key } = files.certificate(service as SiteService);
      return `  ${service}: {chain: ${chain}, key: ${key}}`;
    }),
  ];
}

async function givenPassword(path: string | undefined): Promise<string | undefined> {
  if (path === undefined) return undefined;
  const password = (await readNamedFile('--password-file', path, 4096)).toString().split(/\r?\n/)[0] ?? '';
  checkPassword(password, `--password-file ${path}`);
  return password;
}

/** The first line. @throws CONFIG, NO_INPUT */
async function clientSecret(path: string): Promise<string> {
  const secret =
    (await readNamedFile('clientSecretFile', path, 4096)).toString().split(/\r?\n/)[0]?.trim() ?? '';
  if (secret !== '' && !/[\p{Cc}\\]/u.test(secret)) return secret;
  throw new CodedError('CONFIG', `${path}: must hold the secret of the OIDC client in its first line`);
}

async function askedPassword(email: string, ask: Ask | undefined): Promise<string | undefined> {
  if (ask === undefined) return undefined;
  let problem = '';
  for (;;) {
    const password = await ask(`${problem}Password for ${email}; empty to generate one`, { isSecret: true });
    if (password === '') return undefined;
    try {
      checkPassword(password, 'this password');
      if ((await ask('The same again', { isSecret: true })) === password) return password;
      problem = 'The two differ.\n';
    } catch (error) {
      problem = `${messageOf(error)}\n`;
    }
  }
}

/** Who accepts Omni's license terms: asked, and never assumed. */
async function eulaOf({ eulaName, eulaEmail, ask, pki }: SiteInit): Promise<{
  readonly name?: string | undefined;
  readonly email?: string | undefined;
}> {
  const isAccepted = /^\s*OMNI_EULA_EMAIL=/m.test(
    (await readText(join(resolve(pki ?? ''), 'services', 'omni.env'))) ?? '',
  );
  const asked = isAccepted ? undefined : ask;
  const orUndefined = (text: string | undefined): string | undefined => (text === '' ? undefined : text);
  const name =
    eulaName ??
    orUndefined(
      await asked?.(
        "Name of the person who accepts Omni's license terms (https://github.com/siderolabs/omni/blob/main/LICENSE); empty for later",
      ),
    );
  const email =
    eulaEmail ??
    (name === undefined ? undefined : orUndefined(await asked?.('E-mail address of that person')));
  return {
    name: name === undefined ? undefined : checkVariable('--eula-name', name),
    email: email === undefined ? undefined : emailAddress('--eula-email', email),
  };
}
