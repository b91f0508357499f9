/** dex as the log-in of a site that has none, with one user. Source: siderolabs/docs omni/self-hosted/run-omni-airgapped. */
import type { HandoffInput } from './handoff-input.ts';
import { adminEmail, orPlaceholder } from './site.ts';
import { yamlText } from './yaml-text.ts';

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
      enablePasswordDB: true,
      staticClients: [
        { name: 'Omni', id: 'omni', secretEnv: 'OMNI_OIDC_SECRET', redirectURIs: [`${omni}/oidc/consume`] },
      ],
      staticPasswords: [
        {
          email: adminEmail(site),
          username: 'admin',
          preferredUsername: 'admin',
          hashFromEnv: 'OMNI_ADMIN_PASSWORD_HASH',
        },
      ],
    },
    'A log-in with one user, for a site that has no OIDC or SAML of its own.\nThe secret and the hash come from .env; see README.txt.',
  );
}
