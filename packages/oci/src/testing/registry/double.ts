/**
 * An OCI registry in memory, on loopback, for tests: pull (ranges too), push (in one piece and in chunks), mount, tags,
 * referrers, token and basic auth. What it does wrong is data:
 *
 *     const registry = await startRegistryDouble({
 *       repositories: { 'siderolabs/omni': { blobs: [layer] } },
 *       script: [{ match: { method: 'GET', path: /blobs/, nth: 1 }, do: { cutAfter: 1000 } }],
 *     });
 *     registry.repository('siderolabs/omni').addManifest(bytes, mediaType, 'v1');
 *     …
 *     expect(registry.requests.map(({ method, path }) => `${method} ${path}`)).toEqual([…]);
 *     await registry.close();
 *
 * Like Distribution it refuses a manifest whose children are missing, answers an absolute Location, and gives up an
 * upload session after an error. Point a client at it by `--upstream HOST=url` (the gate's `upstreams`) or plain HTTP.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { digestOf, isDigest } from '../../model/digest.ts';
import { type LoopbackServer, readBody, startHttpServer } from '../http-server.ts';
import { DoubleAuth, type DoubleAuthOptions } from './auth.ts';
import {
  ContentDouble,
  listReferrers,
  listRepositories,
  listTags,
  RepositoryDouble,
  type RepositorySeed,
} from './content.ts';
import { type Answer, type Fault, type Faults, sendAnswer, startFaults } from './faults.ts';

/** How the registry behaves, and what goes wrong. */
export interface RegistryDoubleOptions {
  /** What it holds to begin with. */
  readonly repositories?: Readonly<Record<string, RepositorySeed>>;
  /** What goes wrong; more can be added while it runs. */
  readonly script?: readonly Fault[];
  /** Without it everyone may do everything. */
  readonly auth?: DoubleAuthOptions;
  /** Default true; false answers 404 there and sends no OCI-Subject, as Distribution and GHCR do. */
  readonly referrersApi?: boolean;
  /** Default true; false answers 404 where repositories are listed. */
  readonly catalog?: boolean;
  /** Default true; false starts an ordinary upload (202) for each mount. */
  readonly mounts?: boolean;
  /** Default true; false leaves Docker-Content-Digest out everywhere. */
  readonly digestHeader?: boolean;
  /** Default true; false stores manifests whose children are missing. */
  readonly checkChildren?: boolean;
  /** Request bodies above this many bytes are answered 413 unread, as a proxy does. */
  readonly maxBodyBytes?: number;
  /** Sent as OCI-Chunk-Min-Length. */
  readonly chunkMinLength?: number;
  /** How upload Locations begin; default the URL it listens on, empty for relative ones. */
  readonly locationBase?: string;
  /** Entries in a page of tags or referrers; default all. */
  readonly pageSize?: number;
  /** True: a tag `sha256-<hex>` is taken for the digest when it is read. */
  readonly digestTags?: boolean;
  /** Sent with each answer, as kinds of registries name themselves. */
  readonly headers?: Readonly<Record<string, string>>;
  /** What it does not take; see kinds.ts. */
  readonly refuses?: (write: DoubleWrite) => Refusal | undefined;
}

/** Something that somebody wants to store. */
export interface DoubleWrite {
  /** `begin` and `blob` (whole, in one PUT) of uploads. */
  readonly kind: 'begin' | 'blob' | 'manifest';
  /** Path of the repository. */
  readonly path: string;
  /** Tag or digest of a manifest. */
  readonly name: string;
  readonly mediaType: string;
  readonly body: Buffer;
  /** What the repository holds. */
  readonly repository: RepositoryDouble;
}

export interface Refusal {
  readonly status: number;
  /** As in the error codes of the specification. */
  readonly code: string;
}

interface DoubleRequest {
  readonly method: string;
  /** Path and query. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  /** Body bytes received. */
  readonly bytes: number;
}

/** A running registry double. */
export interface RegistryDouble {
  /** `http://127.0.0.1:<port>`. */
  readonly url: string;
  /** `127.0.0.1:<port>`. */
  readonly host: string;
  /** Everything asked, in order of arrival. */
  readonly requests: readonly DoubleRequest[];
  /** The most of them that were open at once. */
  readonly mostConnections: number;
  /** Upload sessions that were started and neither finished nor cancelled. */
  readonly openUploads: number;
  /** The repository, made when it is not there. */
  repository(path: string): RepositoryDouble;
  /** Adds a fault to the script. */
  fault(fault: Fault): void;
  /** Makes all tokens given out so far worthless. */
  revokeTokens(): void;
  close(): Promise<void>;
}

/** Starts a registry on a free port of 127.0.0.1. Close it at the end of the test. */
export async function startRegistryDouble(options: RegistryDoubleOptions = {}): Promise<RegistryDouble> {
  const faults = startFaults(options.script ?? []);
  const auth = options.auth === undefined ? undefined : new DoubleAuth(options.auth);
  const content = new ContentDouble(options.repositories ?? {});
  const requests: { method: string; path: string; headers: DoubleRequest['headers']; bytes: number }[] = [];
  const server: LoopbackServer = await startHttpServer((request, response) => {
    const seen = {
      method: request.method ?? '',
      path: request.url ?? '',
      headers: request.headers,
      bytes: 0,
    };
    requests.push(seen);
    for (const [name, value] of Object.entries(options.headers ?? {})) response.setHeader(name, value);
    const call = new Call(request, server.url, options, content, auth, (bytes) => {
      seen.bytes = bytes;
    });
    handle(call, faults, request, response).catch(() => response.destroy());
  });
  return {
    url: server.url,
    host: server.host,
    requests,
    get mostConnections() {
      return server.mostConnections;
    },
    get openUploads() {
      return content.uploads.size;
    },
    repository: (path) => content.repository(path),
    fault: (fault) => faults.add(fault),
    revokeTokens: () => auth?.revoke(),
    close: () => server.close(),
  };
}

async function handle(
  call: Call,
  faults: Faults,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const action = faults.take(request.method ?? '', request.url ?? '');
  if (action?.status === undefined && action?.drop !== true) {
    await sendAnswer(request, response, await call.answer(action?.cutRequestAfter), action);
    return;
  }
  if (action.readBody !== false) await readBody(request).catch(() => undefined);
  await sendAnswer(request, response, { status: action.status ?? 500, headers: {}, body: '' }, action);
}

const problem = (status: number, code: string, headers: Answer['headers'] = {}): Answer => ({
  status,
  headers: { 'content-type': 'application/json', ...headers },
  body: JSON.stringify({ errors: [{ code, message: code.toLowerCase().replaceAll('_', ' ') }] }),
});

function remove(repository: RepositoryDouble, kind: string, name: string): Answer {
  const isThere =
    kind === 'blobs'
      ? repository.blobs.delete(name)
      : repository.tags.delete(name) || repository.removeManifest(name);
  return isThere
    ? { status: 202, headers: {}, body: '' }
    : problem(404, kind === 'blobs' ? 'BLOB_UNKNOWN' : 'MANIFEST_UNKNOWN');
}

/** One request to the registry as it should be answered. */
class Call {
  readonly #request: IncomingMessage;
  readonly #base: string;
  readonly #options: RegistryDoubleOptions;
  readonly #content: ContentDouble;
  readonly #auth: DoubleAuth | undefined;
  readonly #sawBody: (bytes: number) => void;

  constructor(
    request: IncomingMessage,
    base: string,
    options: RegistryDoubleOptions,
    content: ContentDouble,
    auth: DoubleAuth | undefined,
    sawBody: (bytes: number) => void,
  ) {
    this.#request = request;
    this.#base = base;
    this.#options = options;
    this.#content = content;
    this.#auth = auth;
    this.#sawBody = sawBody;
  }

  /** @param cutRequestAfter body bytes after which the connection is torn down */
  async answer(cutRequestAfter?: number): Promise<Answer> {
    const { method = '' } = this.#request;
    const url = new URL(this.#request.url ?? '', this.#base);
    const { maxBodyBytes = Number.POSITIVE_INFINITY } = this.#options;
    if (Number(this.#request.headers['content-length'] ?? 0) > maxBodyBytes) {
      return { status: 413, headers: { connection: 'close' }, body: '' };
    }
    if (url.pathname === '/token') {
      const body = await this.#body(undefined);
      return (
        this.#auth?.token(this.#request.headers.authorization, url.searchParams, body) ??
        problem(404, 'NOT_FOUND')
      );
    }
    if (url.pathname === '/v2/_catalog') {
      if (this.#options.catalog === false) return problem(404, 'NOT_FOUND');
      const { pageSize } = this.#options;
      return listRepositories(this.#content, { path: '', query: url.searchParams, pageSize });
    }
    const route = /^\/v2\/(?:(.+)\/(manifests|blobs|tags|referrers)\/(.+))?$/.exec(url.pathname);
    if (route === null) return problem(404, 'NOT_FOUND');
    const [, path = '', kind, rest = ''] = route;
    const right = method === 'GET' || method === 'HEAD' ? 'pull' : 'push';
    const denied = this.#auth?.check(this.#request.headers.authorization, path, right, this.#base);
    if (denied !== undefined) return denied;
    if (kind === undefined) return { status: 200, headers: {}, body: '{}' };
    const body = await this.#body(cutRequestAfter);
    if (kind === 'blobs' && rest.startsWith('uploads/')) {
      return this.#upload(method, path, rest.slice('uploads/'.length), url.searchParams, body);
    }
    if (kind === 'manifests' && method === 'PUT') return this.#putManifest(path, rest, body);
    const repository = this.#content.find(path);
    if (kind === 'referrers' && this.#options.referrersApi === false) return problem(404, 'NOT_FOUND');
    const list = { path, query: url.searchParams, pageSize: this.#options.pageSize };
    if (kind === 'referrers') return listReferrers(repository, rest, list);
    if (repository === undefined) return problem(404, 'NAME_UNKNOWN');
    if (method === 'DELETE') return remove(repository, kind, rest);
    if (kind === 'manifests') {
      const isDigestTag = this.#options.digestTags === true && /^sha256-[a-f0-9]{64}$/.test(rest);
      return this.#getManifest(repository, isDigestTag ? rest.replace('-', ':') : rest);
    }
    if (kind === 'tags') return listTags(repository, list);
    return this.#getBlob(repository, rest);
  }

  async #body(cutAfter: number | undefined): Promise<Buffer> {
    const chunks: Buffer[] = [];
    let size = 0;
    for await (const chunk of this.#request) {
      chunks.push(chunk as Buffer);
      size += (chunk as Buffer).byteLength;
      this.#sawBody(size);
      if (cutAfter !== undefined && size >= cutAfter) this.#request.socket.destroy();
    }
    return Buffer.concat(chunks);
  }

  #digest(digest: string): Record<string, string> {
    return this.#options.digestHeader === false ? {} : { 'docker-content-digest': digest };
  }

  #getManifest(repository: RepositoryDouble, name: string): Answer {
    const manifest = repository.manifest(name);
    if (manifest === undefined) return problem(404, 'MANIFEST_UNKNOWN');
    const digest = digestOf(manifest.bytes);
    return {
      status: 200,
      headers: { 'content-type': manifest.mediaType, ...this.#digest(digest) },
      body: manifest.bytes,
    };
  }

  #putManifest(path: string, name: string, bytes: Buffer): Answer {
    const repository = this.#content.repository(path);
    const digest = digestOf(bytes);
    const mediaType = this.#request.headers['content-type'] ?? '';
    const refusal = this.#refusal('manifest', path, bytes, name);
    if (refusal !== undefined) return refusal;
    if (name.includes(':') && name !== digest) return problem(400, 'DIGEST_INVALID');
    if (this.#options.checkChildren !== false && repository.missingChildren(bytes).length > 0) {
      return problem(400, 'MANIFEST_BLOB_UNKNOWN');
    }
    repository.addManifest(bytes, mediaType, ...(isDigest(name) ? [] : [name]));
    const subject = this.#options.referrersApi === false ? undefined : repository.subjectOf(bytes);
    return {
      status: 201,
      headers: {
        location: `/v2/${path}/manifests/${digest}`,
        ...this.#digest(digest),
        ...(subject === undefined ? {} : { 'oci-subject': subject }),
      },
      body: '',
    };
  }

  #getBlob(repository: RepositoryDouble, digest: string): Answer {
    const blob = repository.blobs.get(digest);
    if (blob === undefined) return problem(404, 'BLOB_UNKNOWN');
    const headers = {
      'content-type': 'application/octet-stream',
      'accept-ranges': 'bytes',
      ...this.#digest(digest),
    };
    const range = /^bytes=([0-9]*)-([0-9]*)$/.exec(this.#request.headers.range ?? '');
    if (range === null) return { status: 200, headers, body: blob };
    const [, from = '', to = ''] = range;
    const first = from === '' ? Math.max(0, blob.byteLength - Number(to)) : Number(from);
    const last = from === '' || to === '' ? blob.byteLength - 1 : Math.min(Number(to), blob.byteLength - 1);
    if (first > last) return problem(416, 'RANGE_INVALID', { 'content-range': `bytes */${blob.byteLength}` });
    return {
      status: 206,
      headers: { ...headers, 'content-range': `bytes ${first}-${last}/${blob.byteLength}` },
      body: blob.subarray(first, last + 1),
    };
  }

  #upload(method: string, path: string, id: string, query: URLSearchParams, body: Buffer): Answer {
    if (method === 'POST' && id === '') return this.#startUpload(path, query);
    const upload = this.#content.uploads.get(id);
    if (upload === undefined || upload.path !== path) return problem(404, 'BLOB_UPLOAD_UNKNOWN');
    if (method === 'DELETE') {
      this.#content.uploads.delete(id);
      return { status: 204, headers: {}, body: '' };
    }
    const range = this.#request.headers['content-range'];
    const size = upload.size();
    if (method === 'GET') return this.#uploadAnswer(204, path, id, { range: `0-${Math.max(0, size - 1)}` });
    if (range !== undefined && range !== `${size}-${size + body.byteLength - 1}`) {
      return problem(416, 'BLOB_UPLOAD_INVALID');
    }
    const refusal = method === 'PUT' && size === 0 ? this.#refusal('blob', path, body) : undefined;
    if (refusal !== undefined) return refusal;
    upload.chunks.push(body);
    if (method === 'PATCH') return this.#uploadAnswer(202, path, id, { range: `0-${upload.size() - 1}` });
    this.#content.uploads.delete(id);
    const bytes = Buffer.concat(upload.chunks);
    const digest = query.get('digest') ?? '';
    if (digestOf(bytes) !== digest) return problem(400, 'DIGEST_INVALID');
    this.#content.repository(path).addBlob(bytes);
    return {
      status: 201,
      headers: { location: `/v2/${path}/blobs/${digest}`, ...this.#digest(digest) },
      body: '',
    };
  }

  #refusal(kind: DoubleWrite['kind'], path: string, body: Buffer, name = ''): Answer | undefined {
    const mediaType = this.#request.headers['content-type'] ?? '';
    const repository = this.#content.find(path) ?? new RepositoryDouble();
    const refusal = this.#options.refuses?.({ kind, path, name, mediaType, body, repository });
    return refusal === undefined ? undefined : problem(refusal.status, refusal.code);
  }

  #startUpload(path: string, query: URLSearchParams): Answer {
    const refusal = this.#refusal('begin', path, Buffer.alloc(0));
    if (refusal !== undefined) return refusal;
    const digest = query.get('mount') ?? '';
    const from = query.get('from') ?? '';
    const source = this.#content.find(from)?.blobs.get(digest);
    const { authorization } = this.#request.headers;
    const readable = this.#auth?.check(authorization, from, 'pull', this.#base) === undefined;
    if (source !== undefined && readable && this.#options.mounts !== false) {
      this.#content.repository(path).addBlob(source);
      return { status: 201, headers: { location: `/v2/${path}/blobs/${digest}` }, body: '' };
    }
    const id = this.#content.startUpload(path);
    const { chunkMinLength } = this.#options;
    return this.#uploadAnswer(
      202,
      path,
      id,
      chunkMinLength === undefined ? {} : { 'oci-chunk-min-length': String(chunkMinLength) },
    );
  }

  #uploadAnswer(status: number, path: string, id: string, headers: Record<string, string>): Answer {
    const base = this.#options.locationBase ?? this.#base;
    return {
      status,
      headers: { location: `${base}/v2/${path}/blobs/uploads/${id}?_state=a%2Bb~c`, ...headers },
      body: '',
    };
  }
}

export type { DoubleAuthOptions } from './auth.ts';
