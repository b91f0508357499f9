/** nginx in front of a server, as sites have it: TLS, and a limit on the size of request bodies. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { requireCommands } from './require.ts';
import { freePorts, startProcess } from './server-process.ts';
import { remove, temporaryFolder } from './temporary.ts';
import type { Certificates } from './tls.ts';

export interface NginxOptions {
  /** `127.0.0.1:PORT` of what is behind it. */
  readonly behind: string;
  readonly certificates: Certificates;
  /** As nginx writes it: `10m`; `0` for no limit. */
  readonly maxBody: string;
  /** Everything but GET and HEAD is redirected (308) to this `HOST:PORT`. */
  readonly uploadsTo?: string;
  /** PEM of an authority: only clients with a certificate of it are let in. */
  readonly clientsOf?: string;
}

/** @returns `127.0.0.1:PORT` @throws MissingService without nginx */
export async function startNginx({
  behind,
  certificates,
  maxBody,
  uploadsTo,
  clientsOf,
}: NginxOptions): Promise<{ readonly host: string; log(): string; stop(): Promise<void> }> {
  requireCommands('nginx');
  const folder = temporaryFolder('nginx');
  const [port = 0] = await freePorts(1);
  const at = (name: string): string => join(folder, name);
  writeFileSync(at('cert.pem'), certificates.cert + certificates.ca);
  writeFileSync(at('key.pem'), certificates.key, { mode: 0o600 });
  if (clientsOf !== undefined) writeFileSync(at('clients.pem'), clientsOf);
  const clients =
    clientsOf === undefined ? '' : `ssl_client_certificate ${at('clients.pem')}; ssl_verify_client on;`;
  const redirect =
    uploadsTo === undefined
      ? ''
      : `if ($request_method !~ ^(?:GET|HEAD)$) { return 308 https://${uploadsTo}$request_uri; }`;
  const paths = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (name) => `${name}_temp_path ${at(name)};`,
  );
  writeFileSync(
    at('nginx.conf'),
    `${process.getuid?.() === 0 ? 'user root;' : ''}
daemon off;
pid ${at('pid')};
error_log ${at('error.log')};
events {}
http {
  ${paths.join('\n  ')}
  log_format asked '$request_method $uri $status $request_length';
  access_log ${at('access.log')} asked;
  server {
    listen 127.0.0.1:${port} ssl;
    ssl_certificate ${at('cert.pem')};
    ssl_certificate_key ${at('key.pem')};
    client_max_body_size ${maxBody};
    ${clients}
    location / {
      ${redirect}
      proxy_pass http://${behind};
      proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-Proto $scheme;
    }
  }
}
`,
  );
  const server = startProcess(['nginx', '-p', folder, '-c', at('nginx.conf')], at('access.log'));
  const stop = async (): Promise<void> => {
    await server.stop();
    remove(folder);
  };
  try {
    await server.until(async () => {
      const answer = await fetch(`http://127.0.0.1:${port}/`).catch(() => undefined);
      await answer?.body?.cancel();
      return answer === undefined ? undefined : true;
    }, 10_000);
  } catch (error) {
    await stop();
    throw error;
  }
  return { host: `127.0.0.1:${port}`, log: server.output, stop };
}
