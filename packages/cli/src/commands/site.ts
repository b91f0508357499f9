/** omni-airgap site: init */

import { basename, dirname, join, resolve } from 'node:path';
import { isSea } from 'node:sea';
import { CodedError } from '@omni-airgap/oci/base';
import type { SiteInitReport } from '@omni-airgap/pki';
import type { Site } from '@omni-airgap/talos';
import { Command } from 'commander';
import { collected, withCommon, withExample } from '../flags.ts';
import { count, table } from '../format.ts';
import { type CommonFlags, report, type Session } from '../session.ts';
import { withTerminal } from '../terminal.ts';

interface InitFlags extends CommonFlags {
  readonly site: string;
  readonly omni?: string;
  readonly factory?: string;
  readonly registry?: string;
  readonly login?: string;
  readonly oidcIssuer?: string;
  readonly oidcClientId: string;
  readonly oidcSecretFile?: string;
  readonly objectStore?: string;
  readonly pxe?: string;
  readonly wireguard?: string;
  readonly ntp: readonly string[];
  readonly user: readonly string[];
  readonly caFile?: string;
  readonly pki?: string | true;
  readonly passwordFile?: string;
  readonly registryUser?: string;
  readonly eulaName?: string;
  readonly eulaEmail?: string;
}

export function addSite(session: Session): Command {
  return withExample(new Command('site').addCommand(addInit(session)), 'omni-airgap site init --pki');
}

function addInit(session: Session): Command {
  const command = new Command('init')
    .description(
      'write a commented site.yaml; with --pki also make authority, certificates, keys and log-ins',
    )
    .optionsGroup('Names and addresses:')
    .option('--site <file>', 'where to write it', './site.yaml')
    .option('--omni <host[:port]>', 'Omni, as people and machines reach it')
    .option('--factory <host[:port]>', 'Image Factory (default: factory.DOMAIN:8080, DOMAIN as that of Omni)')
    .option('--registry <host[:port][/prefix]>', 'registry of all images (default: registry.DOMAIN:5000)')
    .option('--login <host[:port]>', 'dex, the log-in service of the hand-off (default: login.DOMAIN:5556)')
    .option('--oidc-issuer <url>', 'your own OIDC provider, in place of dex; needs --oidc-secret-file')
    .option('--oidc-client-id <id>', 'its client for Omni, with the redirect URI OMNI/oidc/consume', 'omni')
    .option('--oidc-secret-file <file>', 'secret of that client: the first line; relative to the site file')
    .option('--object-store <host[:port]>', 'object store, to have a certificate made for it')
    .option(
      '--pxe <url>',
      'where PXE clients find boot scripts: plain HTTP, unless their iPXE has your authority',
    )
    .option('--wireguard <address[:port]>', 'IP address of Omni for the tunnels of machines')
    .option('--ntp <host>', 'time server (repeatable)', collected, [])
    .optionsGroup('Certificates, keys and log-ins:')
    .option(
      '--user <email>',
      'first user of Omni (repeatable; default: admin@ and the host of Omni)',
      collected,
      [],
    )
    .option('--ca-file <file>', "certificate of the site's own authority, relative to the site file")
    .option('--pki [dir]', 'make what is missing in this folder (default: pki, beside the site file)')
    .option(
      '--password-file <file>',
      'password of the user: the first line (default: asked for, or generated)',
    )
    .option('--registry-user <name>', 'also make a log-in for the registry')
    .option('--eula-name <name>', "name of the person who accepts Omni's license terms")
    .option('--eula-email <email>', 'e-mail address of that person')
    .addHelpText(
      'after',
      '\nOn a terminal it asks for what no flag says. Nothing that exists is replaced: run it again to make what is missing\nand to see when certificates expire. To renew one, remove it and run the same command again.',
    )
    .action((flags: InitFlags) => initSite(session, flags));
  return withExample(
    withCommon(command),
    'omni-airgap site init --pki',
    'omni-airgap site init --omni omni.site --wireguard 10.0.0.5 --ntp 10.0.0.1 --pki \\',
    "    --eula-name 'Ada Lovelace' --eula-email ada@site.example",
  );
}

async function initSite(session: Session, flags: InitFlags): Promise<void> {
  // Loaded here: its libraries for certificates and keys would slow down every other command, and the help.
  const pki = await import('@omni-airgap/pki');
  const { omni, factory, registry, login, objectStore, pxe, wireguard, ntp, user, caFile } = flags;
  const oidc = ownProvider(flags);
  const { passwordFile, registryUser, eulaName, eulaEmail } = flags;
  const result = await withTerminal(session.signal, (ask) =>
    report(
      session,
      flags,
      'site init',
      () =>
        pki.initSite({
          site: flags.site,
          pki: flags.pki === true ? join(dirname(flags.site), 'pki') : flags.pki,
          answers: {
            omni,
            factory,
            registry,
            login,
            oidc,
            objectStore,
            pxe,
            wireguard,
            ntp,
            users: user,
            caFile,
          },
          passwordFile,
          registryUser,
          eulaName,
          eulaEmail,
          program: programPath(),
          ask,
        }),
      describe,
    ),
  );
  const [first, ...more] = result.problems;
  if (first === undefined) return;
  const others = more.length === 0 ? '' : ` (and ${more.length} more, listed above)`;
  throw new CodedError('INCOMPLETE', `${first}${others}`);
}

/** @throws USAGE */
function ownProvider({ oidcIssuer, oidcClientId, oidcSecretFile }: InitFlags): Site['oidc'] {
  if (oidcIssuer === undefined && oidcSecretFile === undefined) return undefined;
  if (oidcIssuer === undefined || oidcSecretFile === undefined)
    throw new CodedError(
      'USAGE',
      'your own OIDC provider needs --oidc-issuer URL and --oidc-secret-file FILE',
    );
  return { issuer: oidcIssuer, clientId: oidcClientId, clientSecretFile: oidcSecretFile };
}

/** What systemd can start: the executable, or the script of a clone. */
function programPath(): string {
  return isSea() ? process.execPath : resolve(dirname(process.argv[1] ?? ''), '../../../scripts/omni-airgap');
}

/** What to do with files that were just made; PATH stands for the file. */
const advice = {
  'ca-key.pem': 'Keep ca-key.pem offline: whoever has it can pose as every service of this site.',
  'ca.pem': 'Everyone who connects must trust ca.pem: browsers, hosts with docker or podman, machines.',
  'omni.asc': 'Keep copies of omni.asc and omni.env: the database cannot be read without them.',
  'log-ins.txt': 'Hand out the passwords in log-ins.txt, then remove it.',
  'omni-airgap-registry.service':
    'Without a registry of your own: systemctl enable --now PATH runs one; start it before load.',
} as const;

function describe({ site, made, present, certificates, missingLines, problems }: SiteInitReport): string {
  const rows = certificates.map(({ path, expires, daysLeft, soon }) => [
    path,
    expires.slice(0, 10),
    daysLeft < 0 ? 'expired' : `${daysLeft} days`,
    soon ? 'expires soon: remove it and run the same command again' : '',
  ]);
  return [
    ...made.map((path) => `Wrote ${path}`),
    ...(present.length === 0
      ? []
      : [`Kept ${count(present.length, 'existing file')} as ${present.length === 1 ? 'it is' : 'they are'}`]),
    ...(rows.length === 0 ? [] : ['', table([['CERTIFICATE', 'EXPIRES', 'LEFT', ''], ...rows])]),
    ...(missingLines.length === 0 ? [] : ['', `Add these lines to ${site}:`, ...missingLines]),
    ...(problems.length === 0 ? [] : ['', ...problems.map((problem) => `To do: ${problem}`)]),
    '',
    ...made.flatMap((path) =>
      Object.entries(advice).flatMap(([name, text]) =>
        basename(path) === name ? [text.replace('PATH', resolve(path))] : [],
      ),
    ),
    `Next: check ${site}, then omni-airgap load --site ${site} …`,
  ].join('\n');
}
