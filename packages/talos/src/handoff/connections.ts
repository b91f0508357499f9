/** README.txt on connections: who connects where, what it is given for that, and what a registry with log-in takes. */
import { insidePorts, selfHostedWireguardPort } from '../egress.ts';
import { type Connection, connections, type Subject, siteUrl } from '../inside/demands.ts';
import { wireguardEndpoint } from '../inside/services.ts';
import { type HandoffInput, hostOf } from './input.ts';

/** Ports of the vendor's guide, of services that the site file does not name. */
const guide: readonly (readonly [Subject, number])[] = [
  ['omni', 443],
  ['factory', 8080],
  ['login', 5556],
];

/** A table with one line for each service and who connects to it. */
export function connectionsText({ site, registry, ca }: HandoffInput): string {
  const found = connections(site, registry);
  const rows = found.map((one) => [
    `${one.port}/tcp`,
    hostOf(one.url),
    one.consumer,
    givenText(one, ca !== undefined, registry.needsLogIn !== false),
  ]);
  const missing = guide.filter(([subject]) => siteUrl(site, subject) === undefined);
  const lines = columns([['PORT', 'OF', 'BY', 'IS GIVEN'], ...rows]);
  if (missing.length > 0)
    lines.push(
      `Not named in the site file: ${missing.map(([subject, port]) => `${subject} (${port}/tcp in the guide)`).join(', ')}.`,
    );
  return lines.join('\n');
}

function givenText({ subject, authority, logIn }: Connection, hasCa: boolean, needsLogIn: boolean): string {
  const hasLogIn = logIn !== undefined && (subject !== 'registry' || needsLogIn);
  return [
    ...(authority === undefined || !hasCa ? [] : [`ca.pem: ${authority}`]),
    ...(hasLogIn ? [`log-in: ${logIn}`] : []),
  ].join('; ');
}

/** Ports that machines need, as the site has them. */
export function machinePortsText({ site, registry }: HandoffInput): string {
  const wireguardPort = wireguardEndpoint(site)?.port ?? selfHostedWireguardPort;
  const ports: Partial<Record<Subject, number>> = {};
  for (const { subject, port } of connections(site, registry)) ports[subject] = port;
  return columns(
    insidePorts({ wireguardPort, ...ports }).map(({ to, port, protocol, why }) => [
      `${port}/${protocol}`,
      to,
      why,
    ]),
  ).join('\n');
}

function columns(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, i) => Math.max(...rows.map((row) => row[i]?.length ?? 0)));
  return rows.map((row) =>
    row
      .map((cell, i) => cell.padEnd(widths[i] ?? 0))
      .join('  ')
      .trimEnd(),
  );
}

/** What a registry with log-in takes; empty for one that is open as far as it was tried. */
export function logInSteps({ registry }: HandoffInput): readonly string[] {
  const { needsLogIn, opensInstallers, host, prefix } = registry;
  if (needsLogIn !== true && opensInstallers !== false) return [];
  const installers = `${prefix === '' ? '' : `${prefix}/`}siderolabs/*-installer`;
  const tried =
    opensInstallers === undefined
      ? 'It was not tried whether they can.'
      : opensInstallers
        ? 'Tried: they can.'
        : `TRIED: THEY CANNOT. Until ${host} allows it, no machine installs through the Image Factory.`;
  return [
    `The registry asks for a log-in to pull. Machines: fill it in in the patch (RegistryAuthConfig, or machine.registries
below Talos 1.12). Omni and the Image Factory: mount ~/.docker/config.json as /root/.docker/config.json. Installers that the
Image Factory builds: let ${installers} be pulled without a log-in. The factory hands them on without credentials, and with
installer.external it redirects machines to the registry, where Talos does not send a log-in either. ${tried}`,
  ];
}
