/**
 * installation-media.txt: the ways to boot a machine so that it joins Omni and installs, by Talos version, each with its
 * commands, and for each the installer that Omni then requests and who hands it out here.
 * Sources: siderolabs/docs omni/self-hosted/run-omni-airgapped, omni-cluster-setup/registering-machines; siderolabs/omni
 * v1.10.4 internal/backend/installimage, internal/backend/runtime/omni/controllers/omni/schematic (the installer is that
 * of the schematic a machine booted from, unless extensions or kernel arguments of the cluster change it),
 * client/pkg/omnictl/{installationmedia,jointoken.go}; siderolabs/talos docs reference/kernel (talos.config.early),
 * internal/app/machined/pkg/controllers/config/acquire.go (maintenance mode takes partial configuration).
 */
import { installerRepository, publicFactoryHost } from '../factory.ts';
import { schematicFrom } from '../schematic/encode.ts';
import { isFromMinor } from '../version.ts';
import { yamlText } from '../yaml/go/emit.ts';
import { type CarriedSchematic, type HandoffInput, hostOf, imageName } from './input.ts';
import { type EarlyArgument, earlyArgument, trustedRoots } from './machines.ts';

/** The file of the schematic to carry, beside mirror.yaml outside. */
export const carriedSchematicName = 'schematic-with-ca.yaml';

/** A schematic whose media trust the site: what to carry where nothing builds inside. It holds no secret. */
export function schematicWithCa(ca: string): string {
  return yamlText(
    { customization: { embeddedMachineConfiguration: trustedRoots(ca) } },
    'For the connected host: a schematic whose media and installers trust the authority of this site (Talos 1.12 and\nlater), where no Image Factory builds them inside; see installation-media.txt.',
  );
}

interface Installer {
  /** As Omni requests it. */
  readonly requested: string;
  /** Who hands it out here; undefined where nobody does. */
  readonly from: string | undefined;
}

/** The installer that Omni requests for a machine that booted media of a schematic. */
function installerOf(
  input: HandoffInput,
  { id, version, installers }: Pick<CarriedSchematic, 'id' | 'version' | 'installers'>,
): Installer {
  const name = installerName(version);
  const requested = `${factoryHost(input)}/${name}/${id}:${version}`;
  if (builds(input, version))
    return { requested, from: 'the Image Factory builds it when it is first pulled' };
  // Where an Image Factory runs, machines ask it, and it hands out what it built itself.
  if (input.factoryVersion !== undefined || !installers.includes(name)) return { requested, from: undefined };
  const loaded = `${imageName(input, publicFactoryHost, `${name}/${id}`)}:${version}`;
  return { requested, from: `loaded: machines find ${loaded} by the mirror in the patch` };
}

/** Omni's name of the installer for bare metal. Source: internal/backend/installimage. */
function installerName(version: string): string {
  const platform = isFromMinor(version, 10) ? { platform: 'metal' } : {};
  return installerRepository({ ...platform, secureboot: false });
}

/** Whether an Image Factory of the site can build a Talos version. */
function builds({ factoryVersion, sources = [] }: HandoffInput, version: string): boolean {
  return factoryVersion !== undefined && sources.includes(version);
}

function factoryHost({ site }: HandoffInput): string {
  return site.factory === undefined ? 'FILL-IN-factory.invalid' : hostOf(site.factory);
}

/** Media that boot, and whose installer nothing here hands out: one line each, with what to carry. */
export function missingInstallers(input: HandoffInput): readonly string[] {
  const { carried = [], site, omniVersion } = input;
  if (site.omni === undefined && omniVersion === undefined) return [];
  return carried.flatMap((one) => {
    const { requested, from } = installerOf(input, one);
    if (!one.hasMedia || from !== undefined) return [];
    return [
      `${requested}: machines that boot the carried media of this schematic install from it, and nothing here hands it out; ${whatToCarry(input, one)}`,
    ];
  });
}

function whatToCarry(input: HandoffInput, { id, version }: CarriedSchematic): string {
  return input.factoryVersion === undefined
    ? `carry it: installers: [metal] beside schematic ${id} in mirror.yaml`
    : `carry what the Image Factory builds it from: ${version} in talos.versions of mirror.yaml`;
}

interface Way {
  readonly letter: string;
  readonly title: string;
  /** What it needs of a Talos version; undefined where it can be used, or why it cannot. */
  readonly not: (version: string) => string | undefined;
  readonly commands: (version: string) => string;
}

export function installationMediaText(input: HandoffInput): string {
  const { talosVersions, carried = [], ca, site } = input;
  const versions = talosVersions.toReversed();
  const early = ca === undefined ? undefined : earlyArgument(ca);
  const ways = waysOf(input, early);
  const knows = ca === undefined ? '' : 'trust ca.pem and ';
  const rows = versions.flatMap((version) =>
    ways.map(({ letter, title, not }, i) => {
      const reason = not(version);
      return `${(i === 0 ? version : '').padEnd(12)} ${letter}  ${title.padEnd(44)} ${reason === undefined ? 'yes' : `no: ${reason}`}`;
    }),
  );
  const described = ways.flatMap((way) => {
    const version = versions.find((one) => way.not(one) === undefined);
    return version === undefined ? [] : [`${way.letter}. ${way.title}\n\n${indented(way.commands(version))}`];
  });
  return `Installation media: ways to boot a machine so that it joins Omni and installs
=============================================================================

Before it joins, a machine must ${knows}know Omni's join token. What holds the token is a secret:
the commands begin with umask 077, so that only you can read the files that they write. Remove these files, and media made
with them, when the machines have joined. omnictl must be configured for this Omni, and this host must trust its authority.

${
  versions.length === 0
    ? 'No Talos version was loaded: there is nothing to boot yet. Load one, and load writes this file again.\n'
    : `Which way for which Talos version
---------------------------------
${rows.join('\n')}

What Omni requests to install
-----------------------------
Omni requests the installer of the schematic that the machine booted from, in the Talos version of its cluster, from
${factoryHost(input)}. It makes another schematic, which only an Image Factory that builds can serve, when a cluster names extensions
or kernel arguments that the schematic has not. SecureBoot: -installer-secureboot in place of -installer.

${installersText(input, versions)}
The ways
--------
Commands are for the newest version that the way is for; replace it for another one. For arm64, replace amd64.

${described.join('\n\n')}

On the installed disk
---------------------
- A schematic is on it: what A, B and E put into the media stays, because the installer is of the same schematic.
- Arguments of C and configuration of D are not. Omni writes its SideroLinkConfig into the machine configuration itself; the
  authority gets there by the patch of the cluster (cluster-template.yaml names it). A machine that leaves its cluster loses
  both: boot it the same way again.
- SecureBoot and UKI: the command line is signed together with the kernel. Arguments cannot be added at boot, so C does not
  work there. A, B and E have them signed by the Image Factory; D needs none.
${carryText(input, carried)}`
}${site.factory === undefined ? '' : `\nomni-airgap egress check --inside --site FILE asks for these installers as machines do.\n`}`;
}

function installersText(input: HandoffInput, versions: readonly string[]): string {
  const { carried = [] } = input;
  const made = versions.map((version) => {
    const answer = builds(input, version)
      ? 'the Image Factory builds it when it is first pulled'
      : `NOBODY: nothing here builds it; carry talos.imageFactory and ${version} in talos.versions of mirror.yaml`;
    return `A, B, E  schematic: made here, holds the join token\n         ${factoryHost(input)}/${installerName(version)}/ID:${version}\n         from: ${answer}`;
  });
  const loaded = carried.map((one) => {
    const { requested, from } = installerOf(input, one);
    const answer = from ?? `NOBODY: ${whatToCarry(input, one)}`;
    return `C, D     schematic: ${one.id}${one.hasMedia ? '' : ', without media'}\n         ${requested}\n         from: ${answer}`;
  });
  return `${[...made, ...loaded].join('\n')}\n`;
}

function waysOf(input: HandoffInput, early: EarlyArgument | undefined): readonly Way[] {
  const { carried = [], ca, omniVersion } = input;
  const isOmniFrom = (minor: number): boolean => omniVersion === undefined || isFromMinor(omniVersion, minor);
  const notBuilt = (version: string): string | undefined =>
    builds(input, version) ? undefined : 'no Image Factory here builds this version';
  const tooOld = (version: string, minor: number): string | undefined =>
    isFromMinor(version, minor) ? undefined : `from Talos 1.${minor} on`;
  const withCa = ca === undefined ? undefined : schematicFrom(schematicWithCa(ca)).id;
  const mediaOf = (version: string): CarriedSchematic | undefined => {
    const media = carried.filter((one) => one.version === version && one.hasMedia);
    return media.find(({ id }) => id === withCa) ?? media[0];
  };
  const needsCa = (version: string): boolean => ca !== undefined && mediaOf(version)?.id !== withCa;
  const noMedia = (version: string): string | undefined =>
    mediaOf(version) === undefined && !builds(input, version)
      ? 'no media of this version was loaded'
      : undefined;
  const tooLong =
    early?.fits === false
      ? 'the authority is too long for a kernel command line, see early-argument.txt'
      : undefined;
  return [
    {
      letter: 'A',
      title: 'configuration embedded in the media',
      not: (version) => tooOld(version, 12) ?? notBuilt(version),
      commands: (version) => embeddedCommands(input, version, isOmniFrom(9)),
    },
    {
      letter: 'B',
      title: 'authority as kernel argument of the media',
      not: (version) =>
        ca === undefined ? 'not needed' : (tooOld(version, 11) ?? notBuilt(version) ?? tooLong),
      commands: (version) => earlyCommands(version, early, isOmniFrom(8)),
    },
    {
      letter: 'C',
      title: 'network boot (PXE) with arguments added',
      not: (version) => noMedia(version) ?? (needsCa(version) ? (tooOld(version, 11) ?? tooLong) : undefined),
      commands: (version) =>
        pxeCommands(input, mediaOf(version)?.id ?? plainSchematic, version, needsCa(version)),
    },
    {
      letter: 'D',
      title: 'any media, configuration sent to the machine',
      not: noMedia,
      commands: (version) => maintenanceCommands(needsCa(version)),
    },
    {
      letter: 'E',
      title: "media of Omni's pages",
      not: notBuilt,
      commands: (version) => pagesText(version, ca !== undefined),
    },
  ];
}

const plainSchematic = schematicFrom('{}').id;

/** omnictl takes the configuration from 1.9 on; before, the schematic is made by hand. */
function embeddedCommands(input: HandoffInput, version: string, hasFlag: boolean): string {
  const plain = version.slice(1);
  const { ca, site } = input;
  if (hasFlag) {
    const embedded = ca === undefined ? '' : ' --embedded-machine-config-file embedded-config.yaml';
    return `umask 077
omnictl media preset create site-${plain} --arch amd64 --talos-version ${plain}${embedded}
omnictl media download site-${plain} --format iso --output site-${plain}.iso     # or raw, qcow2; pxe prints a URL

--secureboot of preset create makes media for SecureBoot, signed with the key of this site's Image Factory.`;
  }
  const factory = site.factory ?? 'https://FILL-IN-factory.invalid';
  const trust = ca === undefined ? '' : ' --cacert ca.pem';
  return `umask 077
${joinConfigCommand(ca !== undefined)}
{ printf 'customization:\\n  embeddedMachineConfiguration: |\\n'; sed 's/^/    /' join-config.yaml; } > join-schematic.yaml
ID=$(curl -fsS${trust} --data-binary @join-schematic.yaml '${factory}/schematics' | sed 's/.*"id":"\\([0-9a-f]*\\)".*/\\1/')
curl -fsS${trust} -o site-${plain}.iso '${factory}'/image/$ID/${version}/metal-amd64.iso`;
}

function earlyCommands(version: string, early: EarlyArgument | undefined, hasMedia: boolean): string {
  const plain = version.slice(1);
  const argument = '"$(tail -n 1 early-argument.txt)"';
  const make = hasMedia
    ? `omnictl media preset create early-${plain} --arch amd64 --talos-version ${plain} --extra-kernel-args ${argument}
omnictl media download early-${plain} --format iso --output early-${plain}.iso`
    : `omnictl download iso --arch amd64 --talos-version ${plain} --extra-kernel-args ${argument} --output early-${plain}.iso`;
  return `umask 077
${make}

early-argument.txt is a TrustedRootsConfig with ca.pem, zstd, base64: ${early?.argument.length ?? 0} bytes with this authority. The kernel reads
2048 bytes of its command line and cuts off the rest without a message; the token, or half of the authority, would be missing.`;
}

function pxeCommands({ site, ca }: HandoffInput, id: string, version: string, needsCa: boolean): string {
  const base = site.pxe ?? site.factory ?? 'http://FILL-IN-pxe.invalid';
  const trust = ca === undefined || !base.startsWith('https:') ? '' : ' --cacert ca.pem';
  const early = needsCa ? ' $(tail -n 1 early-argument.txt)' : '';
  const folder = `${base}/image/${id}/${version}`;
  return `umask 077
ARGS="$(curl -fsS${trust} '${folder}/cmdline-metal-amd64')${early} $(omnictl jointoken kernel-args)"
printf '#!ipxe\\nimgfree\\nkernel %s %s\\ninitrd %s\\nboot\\n' '${folder}/kernel-amd64' "$ARGS" '${folder}/initramfs-amd64.xz' > join.ipxe
[ \${#ARGS} -le 2047 ] || echo 'TOO LONG: the kernel would cut the arguments off' >&2

Have your PXE server hand out join.ipxe, to these machines alone: it holds the join token.`;
}

function joinConfigCommand(needsCa: boolean): string {
  return needsCa
    ? '{ cat embedded-config.yaml; echo ---; omnictl jointoken machine-config; } > join-config.yaml'
    : 'omnictl jointoken machine-config > join-config.yaml';
}

function maintenanceCommands(needsCa: boolean): string {
  return `umask 077
${joinConfigCommand(needsCa)}
talosctl apply-config --insecure --nodes ADDRESS --file join-config.yaml     # the address is on the machine's screen

Boot the machine from media as they were carried, also with SecureBoot: it waits in maintenance mode for a configuration.
Virtual machines take join-config.yaml as user data (nocloud) as well. Until it is installed, a restart forgets it.`;
}

function pagesText(version: string, hasCa: boolean): string {
  const add = !hasCa
    ? ''
    : isFromMinor(version, 12)
      ? ' Give it embedded-config.yaml as embedded machine configuration.'
      : ' Add the last line of early-argument.txt to its kernel arguments.';
  return `Home, Download Installation Media: it is downloaded from the Image Factory, with the join token in it.${add}`;
}

/** What to carry for media that trust the site, where nothing builds. */
function carryText(input: HandoffInput, carried: readonly CarriedSchematic[]): string {
  const { ca, talosVersions } = input;
  const versions = talosVersions.filter((version) => isFromMinor(version, 12) && !builds(input, version));
  if (ca === undefined || versions.length === 0) return '';
  const { id } = schematicFrom(schematicWithCa(ca));
  const state = carried.some((one) => one.id === id)
    ? 'It was loaded: its media need only the join token (C without early-argument.txt, or D).'
    : `Copy ${carriedSchematicName} beside mirror.yaml outside, and add to mirror.yaml:

    media:
      - schematic: ${carriedSchematicName}
        versions: [${versions.join(', ')}]
        files: [metal-amd64.iso, kernel-amd64, initramfs-amd64.xz, cmdline-metal-amd64]
        installers: [metal]`;
  return `
Media that trust this site without an Image Factory here
--------------------------------------------------------
${carriedSchematicName} embeds the authority. It holds no secret, so the public Image Factory may build it:
schematic ${id}
${versions.map((version) => `installer ${factoryHost(input)}/${installerName(version)}/${id}:${version}`).join('\n')}
${state}
`;
}

function indented(text: string): string {
  return text.replaceAll(/^(?=.)/gm, '    ');
}
