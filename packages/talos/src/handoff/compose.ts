/**
 * The services of a site for docker compose or podman compose, and the configuration of dex.
 * Source: compose-spec/compose-spec 05-services.md, 07-volumes.md, 12-interpolation.md.
 */
import { logIns, omniVariables } from '../inside/services.ts';
import { type Plain, yamlText } from '../yaml/go/emit.ts';
import { type HandoffInput, orPlaceholder } from './input.ts';
import { dexTelemetry, environmentFile, type Service, servicesToRun, volumesOf } from './services.ts';

export function composeFile(input: HandoffInput): string {
  const services = servicesToRun(input);
  const health = new Set(services.flatMap(({ name, health }) => (health === undefined ? [] : [name])));
  return yamlText(
    {
      name: 'omni-air-gap',
      services: Object.fromEntries(
        services.map((service) => [service.name, composeService(service, health)]),
      ),
      // Their names do not depend on the folder of this file: another one must not start an empty Omni.
      volumes: Object.fromEntries(volumesOf(services).map((name) => [name, { name }])),
    },
    [
      `${composeCommand(input, 'up -d')}, or podman in place of docker, as root (WireGuard and port 443 need it).`,
      `Variables come from ${environmentFile(input)}; ${
        input.site.secrets === undefined ? 'README.txt says how to make it.' : 'site init --pki makes it.'
      }`,
      `Images: ${imageVersions(input)}, by their digests in the registry.`,
    ].join('\n'),
  );
}

function composeService(
  { image, command, environment, mounts, network, capabilities, devices, health, after }: Service,
  withHealth: ReadonlySet<string>,
): Plain {
  return {
    image,
    restart: 'unless-stopped',
    ...(after.length === 0
      ? {}
      : {
          depends_on: Object.fromEntries(
            after.map((name) => [
              name,
              { condition: withHealth.has(name) ? 'service_healthy' : 'service_started' },
            ]),
          ),
        }),
    ...(network === 'host' ? { network_mode: 'host' } : { ports: [`${network.host}:${network.container}`] }),
    ...(capabilities.length === 0 ? {} : { cap_add: capabilities }),
    ...(devices.length === 0 ? {} : { devices: devices.map((device) => `${device}:${device}`) }),
    ...(environment.length === 0
      ? {}
      : {
          environment: Object.fromEntries(
            environment.map(({ name, isOptional = false }) => [
              name,
              isOptional ? `$\{${name}:-}` : required(name),
            ]),
          ),
        }),
    ...(health === undefined
      ? {}
      : {
          healthcheck: {
            test: ['CMD', ...health],
            interval: '10s',
            timeout: '5s',
            retries: 6,
            start_period: '30s',
          },
        }),
    volumes: mounts.map((mount) =>
      mount.kind === 'volume'
        ? `${mount.volume}:${mount.at}`
        : `${mount.path}:${mount.at}:ro,${mount.isShared ? 'z' : 'Z'}`,
    ),
    command: command.map((argument) =>
      argument.replaceAll(/\$\{([A-Z0-9_]+)\}/g, (_, name: string) => required(name)),
    ),
  };
}

/** Compose stops with this text where the variable is missing, before anything starts. */
function required(name: string): string {
  return `$\{${name}:?is missing; see README.txt}`;
}

/** A command of compose, in the folder of its file: each needs the variables. */
export function composeCommand(input: HandoffInput, command: string): string {
  const path = environmentFile(input);
  return `docker compose${path === './.env' ? '' : ` --env-file ${path}`} ${command}`;
}

function imageVersions({ omniVersion, factoryVersion, dexVersion, site }: HandoffInput): string {
  const rows: readonly (readonly [string, string | undefined])[] = [
    ['omni', omniVersion],
    ['image-factory', factoryVersion],
    ...(site.oidc === undefined ? ([['dex', dexVersion]] as const) : []),
  ];
  return rows.map(([name, version]) => `${name} ${version ?? 'FILL-IN'}`).join(', ');
}

/** A log-in for a site that has none, with its first users. */
export function dexConfig({ site }: HandoffInput): string {
  const omni = orPlaceholder(site.omni, 'https://FILL-IN-omni.invalid');
  return yamlText(
    {
      issuer: orPlaceholder(site.login, 'https://FILL-IN-login.invalid:5556'),
      storage: { type: 'memory' },
      web: {
        https: '0.0.0.0:5556',
        tlsCert: '/etc/dex/tls/server-chain.pem',
        tlsKey: '/etc/dex/tls/server-key.pem',
      },
      telemetry: { http: dexTelemetry },
      enablePasswordDB: true,
      staticClients: [
        {
          name: 'Omni',
          id: 'omni',
          secretEnv: omniVariables.oidcSecret,
          redirectURIs: [`${omni}/oidc/consume`],
        },
      ],
      staticPasswords: logIns(site).map((one) => ({
        email: one.email,
        username: one.username,
        preferredUsername: one.username,
        hashFromEnv: one.variable,
      })),
    },
    'A log-in for a site that has no OIDC or SAML of its own.\nThe secret and the hashes are variables; see README.txt.',
  );
}
