/**
 * The services of a site as quadlets: files from which systemd's generator of podman makes one unit for each container,
 * network and volume. The keys are those of podman 4.5.
 * Source: containers/podman docs/source/markdown/podman-systemd.unit.5.md; systemd.exec(5), EnvironmentFile.
 */
import { posix } from 'node:path';
import type { HandoffInput } from './input.ts';
import { environmentFile, type Service, servicesToRun, volumesOf } from './services.ts';
import { systemdArgument, systemdText } from './systemd.ts';

export interface Quadlet {
  /** `omni.container` */
  readonly name: string;
  readonly text: string;
}

const network = 'omni-air-gap.network';

export function quadlets(input: HandoffInput): readonly Quadlet[] {
  const services = servicesToRun(input);
  return [
    ...services.map((service) => ({
      name: `${service.name}.container`,
      text: containerUnit(service, input),
    })),
    ...volumesOf(services).map((volume) => ({ name: `${volume}.volume`, text: '[Volume]\n' })),
    ...(services.some((service) => service.network !== 'host')
      ? [{ name: network, text: '[Network]\n' }]
      : []),
  ];
}

function containerUnit(service: Service, input: HandoffInput): string {
  const { folder } = input;
  const absolute = (path: string): string => systemdText(posix.resolve(folder, path));
  const after = ['network-online.target', ...service.after.map((name) => `${name}.service`)].join(' ');
  return [
    '# For podman 4.5 or later; README.txt says where it goes.',
    '[Unit]',
    `Description=${systemdText(service.description)}`,
    `Wants=${after}`,
    `After=${after}`,
    '',
    '[Container]',
    `ContainerName=${service.name}`,
    `Image=${service.image}`,
    ...(service.network === 'host'
      ? ['Network=host']
      : [`Network=${network}`, `PublishPort=${service.network.host}:${service.network.container}`]),
    ...service.capabilities.map((capability) => `AddCapability=${capability}`),
    ...service.devices.map((device) => `AddDevice=${device}`),
    // By name alone: podman takes the value from the unit's environment.
    ...service.environment.map(({ name }) => `PodmanArgs=--env ${name}`),
    ...service.mounts.map((mount) =>
      mount.kind === 'volume'
        ? `Volume=${mount.volume}.volume:${mount.at}`
        : `Volume=${absolute(mount.path)}:${mount.at}:ro,${mount.isShared ? 'z' : 'Z'}`,
    ),
    ...(service.health === undefined
      ? []
      : [`HealthCmd=${service.health.join(' ')}`, 'HealthInterval=10s', 'HealthStartPeriod=30s']),
    `Exec=${service.command.map(systemdArgument).join(' \\\n  ')}`,
    '',
    '[Service]',
    `EnvironmentFile=${absolute(environmentFile(input))}`,
    'Restart=always',
    'RestartSec=5',
    // The image is pulled first.
    'TimeoutStartSec=900',
    '',
    '[Install]',
    'WantedBy=multi-user.target',
    '',
  ].join('\n');
}
