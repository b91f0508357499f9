/**
 * A bearer token server such as public registries have beside them: anyone gets `pull`, only the known user gets
 * more. Its tokens are what Distribution 2.8 accepts: ES256, certificate chain in `x5c`.
 * Sources: distribution v2.8.2 docs/spec/auth/{token,jwt,scope}.md and registry/auth/token/token.go.
 */
import { createPrivateKey, randomUUID, sign, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { makeCertificates } from './tls.ts';

export interface Login {
  readonly user: string;
  readonly password: string;
}

interface Access {
  readonly type: string;
  readonly name: string;
  readonly actions: readonly string[];
}

/** One request that reached the server. */
interface TokenRequest {
  readonly service: string | undefined;
  readonly scopes: readonly string[];
  /** undefined: no credentials came along. */
  readonly user: string | undefined;
  readonly status: 200 | 401;
}

export interface TokenServer {
  /** The realm that the registry's challenge names. */
  readonly url: string;
  readonly port: number;
  readonly service: string;
  readonly issuer: string;
  /** PEM file with what the registry must trust. */
  readonly rootCertBundle: string;
  readonly login: Login;
  /** In the order they came. */
  readonly requests: readonly TokenRequest[];
  stop(): Promise<void>;
}

export interface TokenServerOptions {
  /** Seconds a token is good for, 300 when left out. Distribution adds 60 s of leeway. */
  readonly lifeSeconds?: number;
}

/** @throws MissingService without openssl */
export async function startTokenServer({ lifeSeconds = 300 }: TokenServerOptions = {}): Promise<TokenServer> {
  const certificates = await makeCertificates('127.0.0.1');
  const key = createPrivateKey(certificates.key);
  const x5c = [new X509Certificate(certificates.cert).raw.toString('base64')];
  const service = 'test-registry';
  const issuer = 'test-token-server';
  const login: Login = { user: 'publisher', password: 'only-for-tests' };
  const requests: TokenRequest[] = [];

  const token = (subject: string, audience: string, access: readonly Access[]): string => {
    const now = Math.floor(Date.now() / 1000);
    const claims = {
      iss: issuer,
      sub: subject,
      aud: audience,
      iat: now,
      nbf: now,
      exp: now + lifeSeconds,
      jti: randomUUID(),
      access,
    };
    const signed = [{ typ: 'JWT', alg: 'ES256', x5c }, claims]
      .map((part) => base64url(JSON.stringify(part)))
      .join('.');
    const signature = sign('sha256', Buffer.from(signed), { key, dsaEncoding: 'ieee-p1363' });
    return `${signed}.${signature.toString('base64url')}`;
  };

  const server = createServer((request, response) => {
    const query = new URL(request.url ?? '/', 'http://token.invalid').searchParams;
    const scopes = query.getAll('scope').flatMap((scope) => scope.split(' '));
    const credentials = basicCredentials(request);
    const isKnown = credentials?.user === login.user && credentials.password === login.password;
    const status = credentials === undefined || isKnown ? 200 : 401;
    const audience = query.get('service') ?? undefined;
    requests.push({ service: audience, scopes, user: credentials?.user, status });
    response.setHeader('Content-Type', 'application/json');
    if (status === 401) {
      response.writeHead(401).end('{"errors":[{"code":"UNAUTHORIZED","message":"wrong user or password"}]}');
      return;
    }
    const access = scopes.flatMap(parseScope).map((wanted) => (isKnown ? wanted : pullOnly(wanted)));
    const jwt = token(credentials?.user ?? '', audience ?? '', access);
    response.end(
      JSON.stringify({ token: jwt, access_token: jwt, expires_in: lifeSeconds, issued_at: new Date() }),
    );
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}/token`,
    port,
    service,
    issuer,
    rootCertBundle: certificates.caFile,
    login,
    requests,
    async stop() {
      server.closeAllConnections();
      await once(server.close(), 'close');
      certificates.dispose();
    },
  };
}

function base64url(text: string): string {
  return Buffer.from(text).toString('base64url');
}

function basicCredentials(request: IncomingMessage): Login | undefined {
  const encoded = /^Basic (.+)$/i.exec(request.headers.authorization ?? '')?.[1];
  if (encoded === undefined) return undefined;
  const [user = '', ...rest] = Buffer.from(encoded, 'base64').toString().split(':');
  return { user, password: rest.join(':') };
}

/** `repository:library/busybox:pull,push`; the name may hold a colon, as a host with port. */
function parseScope(scope: string): Access[] {
  const match = /^([a-z]+):(.+):([a-z*,]*)$/.exec(scope);
  if (match === null) return [];
  const [, type = '', name = '', actions = ''] = match;
  return [{ type, name, actions: actions.split(',') }];
}

function pullOnly(access: Access): Access {
  return { ...access, actions: access.actions.filter((action) => action === 'pull') };
}
