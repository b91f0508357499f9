/**
 * Omni, the Image Factory and dex for docker compose or podman compose, as the vendor's guide runs them. Values that
 * only a person can give, and secrets, are variables of `.env`.
 */
import type { HandoffInput } from './handoff-input.ts';
import { omniFlags } from './omni-flags.ts';
import { hostOf, variable } from './site.ts';
import { type Plain, yamlText } from './yaml-text.ts';

/** Of the factory's cache in the object store, when image-factory-s3.yaml is used; empty is none. */
const bucketCredentials = {
  AWS_ACCESS_KEY_ID: variable('AWS_ACCESS_KEY_ID:-'),
  AWS_SECRET_ACCESS_KEY: variable('AWS_SECRET_ACCESS_KEY:-'),
};

export function composeFile(input: HandoffInput): string {
  const { site, registry, bucket, omniVersion, factoryVersion, dexVersion, ca } = input;
  const image = (host: string, repository: string, tag: string | undefined): string =>
    `${[registry.host, registry.prefix, ...(registry.keepHost ? [host] : []), repository].filter((part) => part !== '').join('/')}:${tag ?? 'FILL-IN'}`;
  const certificates = [
    './server-chain.pem:/certs/server-chain.pem:ro,Z',
    './server-key.pem:/certs/server-key.pem:ro,Z',
  ];
  const services: Record<string, Plain> = {};
  if (factoryVersion !== undefined) {
    services['image-factory'] = {
      image: image('ghcr.io', 'siderolabs/image-factory', factoryVersion),
      restart: 'unless-stopped',
      ports: [`${portOf(site.factory, '8080')}:8080`],
      command: ['--config', '/image-factory.yaml'],
      ...(bucket === undefined ? {} : { environment: bucketCredentials }),
      volumes: [
        './image-factory.yaml:/image-factory.yaml:ro,Z',
        './signing-key.key:/signing-key.key:ro,Z',
        './cosign.pub:/cosign.pub:ro,Z',
        ...(ca === undefined ? [] : ['./ca.pem:/etc/ssl/certs/ca.pem:ro,Z']),
        ...certificates,
      ],
    };
  }
  services['dex'] = {
    image: image('ghcr.io', 'dexidp/dex', dexVersion),
    restart: 'unless-stopped',
    ports: [`${portOf(site.login, '5556')}:5556`],
    command: ['dex', 'serve', '/etc/dex/dex.yaml'],
    environment: {
      OMNI_OIDC_SECRET: variable('OMNI_OIDC_SECRET'),
      OMNI_ADMIN_PASSWORD_HASH: variable('OMNI_ADMIN_PASSWORD_HASH'),
    },
    volumes: [
      './dex.yaml:/etc/dex/dex.yaml:ro,Z',
      './server-chain.pem:/etc/dex/tls/server-chain.pem:ro,Z',
      './server-key.pem:/etc/dex/tls/server-key.pem:ro,Z',
    ],
  };
  services['omni'] = {
    image: image('ghcr.io', 'siderolabs/omni', omniVersion),
    restart: 'unless-stopped',
    network_mode: 'host',
    cap_add: ['NET_ADMIN'],
    devices: ['/dev/net/tun:/dev/net/tun'],
    volumes: [
      './omni-etcd:/_out/etcd:rw,Z',
      './omni-sqlite:/_out/sqlite:rw,Z',
      './omni.asc:/omni.asc:ro,Z',
      ...(ca === undefined ? [] : ['./ca.pem:/etc/ssl/certs/ca-certificates.crt:ro,Z']),
      ...certificates,
    ],
    command: [...omniFlags(input)],
  };
  return yamlText(
    { name: 'omni-air-gap', services },
    'docker compose up -d, or podman compose up -d as root (WireGuard and port 443 need it).\nVariables come from the file .env beside this one; README.txt says how to make it.',
  );
}

/** The port of a URL as it is published. */
function portOf(url: string | undefined, otherwise: string): string {
  if (url === undefined) return otherwise;
  const port = URL.parse(url)?.port ?? '';
  return port === '' ? (hostOf(url) === '' ? otherwise : url.startsWith('https:') ? '443' : '80') : port;
}
