/**
 * ghcr.io and the storage it redirects blobs to. A token for every pull, blobs by a signed URL on another host that
 * refuses a registry's credentials, no referrers endpoint.
 */
import { randomBytes } from 'node:crypto';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Server as Registry } from '../../packages/server/src/index.ts';
import { type Handler, sendFile, sendStorageError, sendText, UrlSigner } from './host.ts';

export const ghcrHost = 'ghcr.io';
export const blobHost = 'pkg-containers.githubusercontent.com';

export interface GhcrOptions {
  readonly registry: Registry;
  readonly layout: string;
  /** Milliseconds a token is good for. */
  readonly tokenMs: number;
  /** Milliseconds a signed URL is good for. */
  readonly urlMs: number;
}

export function ghcr({ registry, layout, tokenMs, urlMs }: GhcrOptions): {
  readonly ghcr: Handler;
  readonly blobs: Handler;
} {
  const tokens = new Map<string, { readonly scope: string; readonly until: number }>();
  const signer = new UrlSigner(randomBytes(16).toString('hex'));

  const giveToken: Handler = (_request, response, url) => {
    const scope = url.searchParams.get('scope') ?? '';
    const token = randomBytes(24).toString('base64url');
    tokens.set(token, { scope, until: Date.now() + tokenMs });
    sendText(
      response,
      200,
      JSON.stringify({ token, expires_in: Math.round(tokenMs / 1000) }),
      'application/json',
    );
  };

  const mayPull = (authorization: string | undefined, repository: string): boolean => {
    const token = tokens.get(/^Bearer (.+)$/i.exec(authorization ?? '')?.[1] ?? '');
    if (token === undefined || token.until < Date.now()) return false;
    return (
      repository === '' ||
      token.scope.split(' ').some((scope) => scope.startsWith(`repository:${repository}:`))
    );
  };

  const handler: Handler = (request, response, url) => {
    if (url.pathname === '/token') return giveToken(request, response, url);
    const [, repository = '', kind, reference] =
      /^\/v2\/(.+)\/(manifests|blobs|tags|referrers)\/([^/]+)$/.exec(url.pathname) ?? [];
    if (!url.pathname.startsWith('/v2/')) return sendText(response, 404, 'not found\n');
    if (!mayPull(request.headers.authorization, repository)) {
      const scope = repository === '' ? 'repository:user/image:pull' : `repository:${repository}:pull`;
      response.setHeader(
        'WWW-Authenticate',
        `Bearer realm="https://${ghcrHost}/token",service="${ghcrHost}",scope="${scope}"`,
      );
      const body = '{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}';
      return sendText(response, 401, body, 'application/json');
    }
    if (kind === 'referrers') return sendText(response, 404, '404 page not found\n');
    if (kind === 'blobs' && request.method === 'GET' && reference !== undefined) {
      const path = `/ghcr1/blobs/${reference}`;
      const expires = Date.now() + urlMs;
      const query = new URLSearchParams({
        se: new Date(expires).toISOString(),
        sig: signer.sign(path, expires),
        sp: 'r',
        spr: 'https',
        sr: 'b',
        sv: '2025-01-05',
      });
      response.setHeader('Location', `https://${blobHost}${path}?${query}`);
      return sendText(response, 307, '');
    }
    registry.listener(request, response);
  };

  const blobs: Handler = async (request, response, url) => {
    const refuse = (status: number, code: string): void => sendStorageError(response, status, code);
    if (request.headers.authorization !== undefined) return refuse(400, 'InvalidAuthenticationInfo');
    const expires = Date.parse(url.searchParams.get('se') ?? '');
    if (!signer.verify(url.pathname, expires, url.searchParams.get('sig') ?? '')) {
      return refuse(403, 'AuthenticationFailed');
    }
    const hex = /^\/ghcr1\/blobs\/sha256:([a-f0-9]{64})$/.exec(url.pathname)?.[1];
    const path = join(layout, 'blobs', 'sha256', hex ?? '');
    const info = hex === undefined ? undefined : await stat(path).catch(() => undefined);
    if (info === undefined) return refuse(404, 'BlobNotFound');
    await sendFile(
      request,
      response,
      { path, size: info.size },
      { 'Content-Type': 'application/octet-stream', ETag: `"0x${hex?.slice(0, 15)}"` },
    );
  };

  return { ghcr: handler, blobs };
}
