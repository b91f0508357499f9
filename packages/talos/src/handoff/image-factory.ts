/**
 * Configuration of a self-hosted Image Factory over what was loaded.
 * Source: siderolabs/image-factory docs/configuration.md and its defaults in cmd/image-factory/cmd/options.go.
 */
import { yamlText } from '../yaml/go/emit.ts';
import { type HandoffBucket, type HandoffInput, orPlaceholder } from './input.ts';

/** @param bucket where built media are cached; undefined for a cache in the registry alone */
export function imageFactoryConfig(input: HandoffInput, bucket: HandoffBucket | undefined): string {
  const { registry, site, ca } = input;
  const { host, prefix, plainHttp } = registry;
  const insecure = plainHttp ? { insecure: true } : {};
  /** Namespaces that the factory has of itself go below the prefix. */
  const below = (namespace: string): { readonly namespace?: string } =>
    prefix === '' ? {} : { namespace: `${prefix}/${namespace}` };
  const factory = orPlaceholder(site.factory, 'https://FILL-IN-factory.invalid');
  const isTls = factory.startsWith('https:');
  const notes = [
    'Image Factory over the images of this registry.',
    ...(registry.keepHost
      ? ['The registry keeps hosts in its paths: artifacts.core.namespace names the one of Sidero Labs.']
      : []),
    ...(prefix === '' && !registry.keepHost
      ? []
      : ['artifacts.core.namespace needs Image Factory 1.4.0 or later.']),
    'installer.external is left out on purpose: the factory then hands installers on itself.',
    'It signs with keys of its own: machines enrolled for SecureBoot with the public factory’s key must be enrolled again.',
  ];
  const core = [prefix, ...(registry.keepHost ? ['ghcr.io'] : [])].filter((part) => part !== '').join('/');
  return yamlText(
    {
      artifacts: {
        core: { registry: host, ...(core === '' ? {} : { namespace: core }), ...insecure },
        schematic: { registry: host, ...schematicNamespace(input), ...insecure },
        installer: { internal: { registry: host, ...below('siderolabs'), ...insecure } },
      },
      // The public key of load --resign-key; an empty subject turns the keyless check off, which needs the internet.
      containerSignature: { publicKeyFile: '/cosign.pub', subjectRegExp: '' },
      cache: {
        oci: { registry: host, ...below('siderolabs/image-factory'), ...insecure },
        signingKeyPath: '/signing-key.key',
        ...(bucket === undefined ? {} : { s3: s3Cache(bucket) }),
      },
      http: {
        externalURL: factory,
        ...(site.pxe === undefined ? {} : { externalPXEURL: site.pxe }),
        ...(isTls ? { certFile: '/certs/server-chain.pem', keyFile: '/certs/server-key.pem' } : {}),
      },
    },
    [...notes, ...(ca === undefined ? [] : ['Mount ca.pem as /etc/ssl/certs/ca.pem.'])].join('\n'),
  );
}

/** Where load put schematics: their host was the public factory's. */
function schematicNamespace({ registry }: HandoffInput): { readonly namespace?: string } {
  const parts = [registry.prefix, ...(registry.keepHost ? ['factory.talos.dev'] : [])].filter(
    (part) => part !== '',
  );
  return parts.length === 0 ? {} : { namespace: [...parts, 'siderolabs/image-factory'].join('/') };
}

function s3Cache({ bucket, endpoint, region }: HandoffBucket): {
  readonly enabled: boolean;
  readonly bucket: string;
  readonly endpoint: string;
  readonly region: string;
  readonly insecure?: boolean;
} {
  const url = URL.parse(endpoint);
  return {
    enabled: true,
    bucket,
    endpoint: url?.host ?? endpoint,
    region,
    ...(url?.protocol === 'http:' ? { insecure: true } : {}),
  };
}
