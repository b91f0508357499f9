/**
 * Omni's flags for a site, by version. Those of the machine API have these names since 1.0; siderolink-api is older.
 * Source: siderolabs/omni cmd/omni/cmd/cmd.go, internal/pkg/config/schema.json; siderolabs/docs
 * omni/self-hosted/run-omni-airgapped.
 */
import { selfHostedWireguardPort } from '../egress.ts';
import { isFromMinor } from '../version.ts';
import type { HandoffInput } from './handoff-input.ts';
import { adminEmail, orPlaceholder, variable } from './site.ts';

/** Flags whose value the person must give; in the compose file they are variables of `.env`. */
export function omniFlags(input: HandoffInput): readonly string[] {
  const { site, registry, omniVersion } = input;
  const omni = orPlaceholder(site.omni, 'https://FILL-IN-omni.invalid');
  const isFrom = (minor: number): boolean => omniVersion === undefined || isFromMinor(omniVersion, minor);
  const images = (repository: string): string =>
    [registry.host, registry.prefix, ...(registry.keepHost ? ['ghcr.io'] : []), repository]
      .filter((part) => part !== '')
      .join('/');
  const factory = orPlaceholder(site.factory, 'https://FILL-IN-factory.invalid');
  const withPort = (port: number): string => {
    const url = URL.parse(omni);
    return url === null ? omni : `${url.protocol}//${url.hostname}:${port}`;
  };
  return [
    `--account-id=${variable('OMNI_ACCOUNT_ID')}`,
    '--name=air-gap-omni',
    ...(isFrom(7)
      ? [
          `--eula-accept-name=${variable('OMNI_EULA_NAME')}`,
          `--eula-accept-email=${variable('OMNI_EULA_EMAIL')}`,
        ]
      : []),
    `--initial-users=${adminEmail(site)}`,
    '--private-key-source=file:///omni.asc',
    ...(isFrom(4) ? ['--sqlite-storage-path=/_out/sqlite/omni.db'] : []),
    '--cert=/certs/server-chain.pem',
    '--key=/certs/server-key.pem',
    '--machine-api-cert=/certs/server-chain.pem',
    '--machine-api-key=/certs/server-key.pem',
    '--bind-addr=0.0.0.0:443',
    '--machine-api-bind-addr=0.0.0.0:8090',
    '--k8s-proxy-bind-addr=0.0.0.0:8100',
    '--event-sink-port=8091',
    // Off the factory's port, should both run on one host.
    '--metrics-bind-addr=0.0.0.0:2123',
    `--advertised-api-url=${omni}`,
    `--machine-api-advertised-url=${site.machineApi ?? withPort(8090)}`,
    `--advertised-kubernetes-proxy-url=${site.kubernetesProxy ?? withPort(8100)}`,
    `--siderolink-wireguard-advertised-addr=${orPlaceholder(site.wireguard, `FILL-IN-wireguard.invalid:${selfHostedWireguardPort}`)}`,
    '--auth-auth0-enabled=false',
    '--auth-oidc-enabled=true',
    `--auth-oidc-provider-url=${orPlaceholder(site.login, 'https://FILL-IN-login.invalid:5556')}`,
    '--auth-oidc-client-id=omni',
    `--auth-oidc-client-secret=${variable('OMNI_OIDC_SECRET')}`,
    '--auth-oidc-scopes=openid,profile,email',
    ...(isFrom(10)
      ? [
          `--primary-factory-url=${factory}`,
          ...(site.pxe === undefined ? [] : [`--primary-factory-pxe-url=${site.pxe}`]),
        ]
      : [
          `--image-factory-address=${factory}`,
          ...(site.pxe === undefined ? [] : [`--image-factory-pxe-address=${site.pxe}`]),
        ]),
    `--kubernetes-registry=${images('siderolabs/kubelet')}`,
    `--talos-installer-registry=${images('siderolabs/installer')}`,
    '--workload-proxying-enabled=false',
  ];
}
