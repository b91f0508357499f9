/** The files with credentials of a site: variables of compose.yaml, the registry's log-in, generated passwords. */
import { randomBytes, randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { CodedError, parseStrictObject } from '@omni-airgap/oci/base';
import { writeFileAtomic } from '@omni-airgap/oci/fs';
import { type LogIn, omniVariables } from '@omni-airgap/talos';
import { checkPassword, faultOfHash, newPassword, passwordHash, registryAuth } from './log-ins.ts';
import { type FileTally, readText } from './site-folder.ts';

export interface Credentials {
  readonly folder: string;
  readonly logIns: readonly LogIn[];
  /** Of the client that the site's own OIDC provider has for Omni; undefined to make one for dex. */
  readonly oidcSecret?: string | undefined;
  /** The password of a log-in that has none yet; undefined to generate one. */
  readonly passwordOf: (email: string) => Promise<string | undefined>;
  /** Who accepts the license terms of Omni; undefined where nobody said. */
  readonly eula: { readonly name?: string | undefined; readonly email?: string | undefined };
  /** A user of the registry; undefined for a registry without log-in. */
  readonly registry?: { readonly host: string; readonly user: string } | undefined;
}

/** Makes what is missing. @throws USAGE for a password that cannot be used */
export async function makeCredentials(wanted: Credentials, tally: FileTally): Promise<void> {
  await makeVariables(wanted, tally);
  if (wanted.registry !== undefined) await makeRegistryLogIn(wanted.folder, wanted.registry, tally);
}

/** Lines that exist stay as they are; missing ones are added at the end. */
async function makeVariables(
  { folder, logIns, oidcSecret: ofProvider, passwordOf, eula }: Credentials,
  tally: FileTally,
): Promise<void> {
  const path = join(folder, 'services', 'omni.env');
  const before = await readText(path);
  const values = parseVariables(before ?? '');
  const lines: string[] = [];
  const add = (name: string, value: string): void => void lines.push(`${name}=${quotedValue(value)}`);
  const { accountId, oidcSecret, eulaName, eulaEmail } = omniVariables;
  if (!values.has(accountId)) add(accountId, randomUUID());
  if (!values.has(oidcSecret)) add(oidcSecret, ofProvider ?? randomBytes(32).toString('hex'));
  else if (ofProvider !== undefined && values.get(oidcSecret) !== ofProvider)
    tally.problems.push(
      `${path}: ${oidcSecret} is not the secret in clientSecretFile; remove the line and run the same command again`,
    );
  if (!values.has(eulaName) && eula.name !== undefined) add(eulaName, eula.name);
  if (!values.has(eulaEmail) && eula.email !== undefined) add(eulaEmail, eula.email);
  const generated: string[] = [];
  for (const { email, variable } of logIns) {
    const hash = values.get(variable);
    if (hash !== undefined) {
      const fault = faultOfHash(hash);
      if (fault !== undefined)
        tally.problems.push(`${path}: ${variable} ${fault}; remove the line and run the same command again`);
      continue;
    }
    const given = await passwordOf(email);
    if (given !== undefined) checkPassword(given, `the password of ${email}`);
    const password = given ?? newPassword();
    if (given === undefined) generated.push(`${email}  ${password}`);
    add(variable, await passwordHash(password));
  }
  // First the passwords: once their hashes are on record, no run makes them again.
  if (generated.length > 0) await append(join(folder, 'log-ins.txt'), generated, logInsHead, tally);
  if (lines.length > 0) await append(path, lines, variablesHead, tally);
  else tally.present.push(path);
  const missing = [
    ...(values.has(eulaName) || eula.name !== undefined ? [] : ['--eula-name NAME']),
    ...(values.has(eulaEmail) || eula.email !== undefined ? [] : ['--eula-email EMAIL']),
  ];
  if (missing.length > 0) {
    tally.problems.push(
      `${path}: nobody has accepted Omni's license terms yet; run the same command with ${missing.join(' ')}, of the person who does`,
    );
  }
}

const variablesHead = `# Variables of compose.yaml: docker compose --env-file FILE up -d
# Keep a copy: an Omni that gets another account ID loses its machines.
`;
const logInsHead =
  '# Generated passwords. Hand them out, then remove this file: only their hashes are needed.\n';

async function append(path: string, lines: readonly string[], head: string, tally: FileTally): Promise<void> {
  const before = await readText(path);
  const start = before === undefined ? head : before.endsWith('\n') || before === '' ? before : `${before}\n`;
  await writeFileAtomic(path, `${start}${lines.join('\n')}\n`, 0o600);
  tally.made.push(path);
}

/**
 * As docker compose reads them. Source: docs.docker.com, "Env file syntax".
 * @returns values without their quotes
 */
function parseVariables(text: string): ReadonlyMap<string, string> {
  const values = new Map<string, string>();
  for (const line of text.split(/\r?\n/)) {
    const [, name, value] = /^\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*?)\s*$/.exec(line) ?? [];
    if (name === undefined || value === undefined || value === '') continue;
    values.set(name, value.replace(/^(['"])(.*)\1$/, '$2'));
  }
  return values;
}

/** In single quotes nothing is expanded: hashes contain `$`. */
function quotedValue(text: string): string {
  return /^[A-Za-z0-9@._-]+$/.test(text) ? text : `'${text.replaceAll("'", "\\'")}'`;
}

/** @throws USAGE for a text that an env file cannot hold */
export function checkVariable(flag: string, text: string): string {
  const plain = text.trim();
  if (plain !== '' && plain.length <= 256 && !/[\p{Cc}\\]/u.test(plain)) return plain;
  throw new CodedError('USAGE', `${flag}: must be one line without backslashes, such as a name`);
}

/** Who may push, for the registry's own configuration. */
export function registryHashes(folder: string): string {
  return join(folder, 'services', 'registry.htpasswd');
}

async function makeRegistryLogIn(
  folder: string,
  { host, user }: { readonly host: string; readonly user: string },
  tally: FileTally,
): Promise<void> {
  const hashes = registryHashes(folder);
  const authPath = join(folder, 'registry-auth.json');
  const isHashed = (await readText(hashes)) !== undefined;
  if (isHashed && (await readText(authPath)) === undefined) {
    // The password cannot be found again.
    tally.present.push(hashes);
    return;
  }
  const auth = await tally.make(authPath, 0o600, () => registryAuth(host, user, newPassword()));
  await tally.make(hashes, 0o600, async () => {
    const [name, password] = logInOf(auth, host, authPath);
    return `${name}:${await passwordHash(password)}\n`;
  });
}

/** @throws CONFIG when the file has no log-in for the host */
function logInOf(text: string, host: string, path: string): readonly [user: string, password: string] {
  const { auths } = parseStrictObject(Buffer.from(text), { what: path });
  const entry = (auths as Record<string, { auth?: unknown } | undefined> | undefined)?.[host];
  const [, user, password] =
    /^([^:]+):(.+)$/.exec(Buffer.from(String(entry?.auth ?? ''), 'base64').toString()) ?? [];
  if (user !== undefined && password !== undefined) return [user, password];
  throw new CodedError(
    'CONFIG',
    `${path}: has no log-in for ${host}; remove it and run the same command again`,
  );
}
