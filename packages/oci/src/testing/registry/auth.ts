/** Who may do what at a registry double: basic auth, or bearer tokens given out at its own `/token`. */
import type { Answer } from './faults.ts';

export interface DoubleAuthOptions {
  readonly kind: 'basic' | 'token';
  readonly username?: string;
  readonly password?: string;
  /** An OAuth2 refresh token that is as good as the password. */
  readonly identityToken?: string;
  /** Tokens without credentials may pull; default false. */
  readonly anonymousPull?: boolean;
  /** Seconds, default 300; tokens die with it. */
  readonly expiresIn?: number;
  /** The realm named in challenges; default the double's own `/token`. */
  readonly realm?: string;
  /** The whole WWW-Authenticate header; an empty one is left out. */
  readonly challenge?: string;
}

interface Grant {
  readonly scopes: ReadonlySet<string>;
  readonly until: number;
}

export class DoubleAuth {
  readonly #options: DoubleAuthOptions;
  readonly #grants = new Map<string, Grant>();
  #issued = 0;

  constructor(options: DoubleAuthOptions) {
    this.#options = options;
  }

  revoke(): void {
    this.#grants.clear();
  }

  /** The answer of the token endpoint to a GET, or to a POST with a refresh token. */
  token(authorization: string | undefined, query: URLSearchParams, body: Buffer): Answer {
    const form = new URLSearchParams(body.toString('utf8'));
    const { identityToken, anonymousPull = false, expiresIn = 300 } = this.#options;
    const known =
      this.#isBasic(authorization) ||
      (identityToken !== undefined && form.get('refresh_token') === identityToken);
    const wrong = authorization !== undefined || form.has('refresh_token');
    if (!known && (wrong || !anonymousPull)) return { status: 401, headers: {}, body: '{}' };
    const asked = [...query.getAll('scope'), ...(form.get('scope') ?? '').split(' ')];
    const scopes = asked.flatMap((scope) => {
      const [, path = '', rights = ''] = /^repository:(.+):([a-z,]+)$/.exec(scope) ?? [];
      return rights
        .split(',')
        .filter((right) => known || right === 'pull')
        .map((right) => `${path}:${right}`);
    });
    const token = `token-${++this.#issued}`;
    this.#grants.set(token, { scopes: new Set(scopes), until: Date.now() + expiresIn * 1000 });
    return {
      status: 200,
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ token, expires_in: expiresIn }),
    };
  }

  /** @returns the refusal, or undefined when the request may go on */
  check(
    authorization: string | undefined,
    path: string,
    right: 'pull' | 'push',
    base: string,
  ): Answer | undefined {
    const { kind, realm = `${base}/token` } = this.#options;
    const grant = this.#grants.get(/^Bearer (.+)$/.exec(authorization ?? '')?.[1] ?? '');
    const granted =
      kind === 'basic'
        ? this.#isBasic(authorization)
        : grant !== undefined &&
          grant.until > Date.now() &&
          (path === '' || grant.scopes.has(`${path}:${right}`));
    if (granted) return undefined;
    const scope = path === '' ? '' : `,scope="repository:${path}:${right === 'pull' ? 'pull' : 'pull,push'}"`;
    const challenge =
      this.#options.challenge ??
      (kind === 'basic' ? 'Basic realm="double"' : `Bearer realm="${realm}",service="double"${scope}`);
    return {
      status: 401,
      headers: challenge === '' ? {} : { 'www-authenticate': challenge },
      body: JSON.stringify({ errors: [{ code: 'UNAUTHORIZED', message: 'authentication required' }] }),
    };
  }

  #isBasic(authorization: string | undefined): boolean {
    const { username, password } = this.#options;
    if (username === undefined || password === undefined) return false;
    return authorization === `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
  }
}
