/**
 * The part of an OIDC provider that Omni reads when it starts: its discovery document. Nobody can log in here.
 * Run as `node oidc-discovery.ts ISSUER CERTIFICATE KEY`; it listens on the issuer's port of 127.0.0.1.
 * Source: OpenID Connect Discovery 1.0, section 3.
 */
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';

const [issuer = '', certificate = '', key = ''] = process.argv.slice(2);
const document = JSON.stringify({
  issuer,
  authorization_endpoint: `${issuer}/auth`,
  token_endpoint: `${issuer}/token`,
  jwks_uri: `${issuer}/keys`,
  response_types_supported: ['code'],
  subject_types_supported: ['public'],
  id_token_signing_alg_values_supported: ['RS256'],
});
const files = { cert: readFileSync(certificate), key: readFileSync(key) };
createServer(files, (request, response) => {
  const isKeys = request.url === '/keys';
  response.setHeader('Content-Type', 'application/json');
  if (!isKeys && request.url !== '/.well-known/openid-configuration') response.statusCode = 404;
  response.end(isKeys ? '{"keys":[]}' : document);
}).listen(Number(new URL(issuer).port), '127.0.0.1');
