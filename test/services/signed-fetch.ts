/** One request to an S3 object store, signed with a key. Source: AWS Signature Version 4 for S3, header form. */
import { createHash, createHmac } from 'node:crypto';

export interface S3Key {
  readonly region: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}

export interface S3Request {
  /** GET when left out. */
  readonly method?: string;
  readonly body?: string | Uint8Array<ArrayBuffer>;
  /** Signed too; names in lower case. */
  readonly headers?: Readonly<Record<string, string>>;
}

/** The answer, whatever its status. @param url path-style, its path and query encoded as they are to be sent */
export function signedFetch(
  url: URL,
  key: S3Key,
  { method = 'GET', body, headers: more = {} }: S3Request = {},
): Promise<Response> {
  const time = new Date().toISOString().replace(/[-:]|\.\d+/g, '');
  const payload = sha256(body ?? '');
  const own = { host: url.host, 'x-amz-content-sha256': payload, 'x-amz-date': time };
  const headers: Readonly<Record<string, string>> = Object.fromEntries(
    Object.entries({ ...more, ...own }).sort(([a], [b]) => (a < b ? -1 : 1)),
  );
  const names = Object.keys(headers).join(';');
  const query = [...url.searchParams]
    .map(([name, value]) => `${encodeURIComponent(name)}=${encodeURIComponent(value)}`)
    .sort()
    .join('&');
  const lines = Object.entries(headers).map(([name, value]) => `${name}:${value}\n`);
  const canonical = [method, url.pathname, query, lines.join(''), names, payload].join('\n');
  const scope = [time.slice(0, 8), key.region, 's3', 'aws4_request'];
  const toSign = ['AWS4-HMAC-SHA256', time, scope.join('/'), sha256(canonical)].join('\n');
  const signingKey = scope.reduce<string | Buffer>(
    (secret, part) => createHmac('sha256', secret).update(part).digest(),
    `AWS4${key.secretAccessKey}`,
  );
  const signature = createHmac('sha256', signingKey).update(toSign).digest('hex');
  const credential = `${key.accessKeyId}/${scope.join('/')}`;
  const authorization = `AWS4-HMAC-SHA256 Credential=${credential}, SignedHeaders=${names}, Signature=${signature}`;
  // fetch sets Host itself.
  const { host: _host, ...sent }: Record<string, string> = headers;
  return fetch(url, { method, headers: { ...sent, authorization }, body: body ?? null });
}

function sha256(data: string | Uint8Array): string {
  return createHash('sha256').update(data).digest('hex');
}
