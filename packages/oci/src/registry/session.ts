/**
 * Requests to one registry: logged in, tried again, and always to the registry itself first. A view narrows the
 * session to one repository: its paths, its scopes, its name in messages.
 */
import { CodedError, isCoded } from '../base/errors.ts';
import { printable } from '../base/text.ts';
import type { GateRequest, HttpGate } from '../http/gate.ts';
import { nextLink } from '../http/link.ts';
import { resolveReference } from '../http/policy.ts';
import type { GateResponse } from '../http/response.ts';
import { type ErrorBody, errorFor, errorFromResponse, readErrorBody } from '../http/response.ts';
import { isTransientStatus, type RetryOptions, retrying } from '../http/retry.ts';
import { Authenticator } from './auth.ts';
import type { CredentialSource } from './credentials.ts';
import { kindOf, type Refused, type RegistryKind, remedyFor } from './kinds.ts';

export interface RegistryOptions {
  /** Every request goes through it; its policy must allow the host. */
  readonly gate: HttpGate;
  /** As in references: `ghcr.io`, `registry.lab:5000`; `docker.io` stands for registry-1.docker.io. */
  readonly host: string;
  /** Default: no credentials. */
  readonly credentials?: CredentialSource | undefined;
  /** Speak plain HTTP; the gate's policy must allow it too. Default false. */
  readonly plainHttp?: boolean | undefined;
  /** Hosts besides the registry's own that may give out its tokens. */
  readonly trustedRealms?: readonly string[] | undefined;
  /** Attempts for what may pass by itself; default 6. */
  readonly tries?: number | undefined;
  /** Hooks into waiting: progress, and tests. */
  readonly retry?: Pick<RetryOptions, 'onRetry' | 'random' | 'sleep'> | undefined;
  /** Told what the registry does wrong and was accepted nevertheless: one line for people. */
  readonly onNote?: ((text: string) => void) | undefined;
}

interface RegistryRequest extends Omit<GateRequest, 'url' | 'authorization'> {
  /** Below the registry's origin, or where an upload was redirected to. */
  readonly url: URL;
  /** What is being done, beginning error messages. */
  readonly what: string;
  /** Repository whose credentials are used; empty for the registry as a whole. */
  readonly repository: string;
  readonly scopes: readonly string[];
}

/** What the registry was found not to take, so that it is not tried again with the next blob. */
interface UploadLimits {
  /** Bytes of the smallest request body that was answered 413; infinite while there was none. */
  tooLargeBytes: number;
  /** Whether a blob in one PUT is no way to push, as in Artifactory: it takes PATCH only. */
  chunksOnly: boolean;
}

/** What an answer with a body says. */
interface Words {
  readonly headers: GateResponse['headers'];
  readonly body: ErrorBody;
}

export class RegistrySession {
  readonly host: string;
  /** Logical origin. */
  readonly origin: URL;
  readonly uploadLimits: UploadLimits = { tooLargeBytes: Number.POSITIVE_INFINITY, chunksOnly: false };
  readonly #options: RegistryOptions;
  readonly #auth: Authenticator;
  #kind: RegistryKind | undefined;
  /** What it says of its rate limit. */
  #limitWords: Promise<Words | undefined> | undefined;
  readonly #turns = new Map<string, Promise<unknown>>();
  /** Notes are about the registry, so the first of a kind says it. */
  readonly #noted = new Set<string>();

  constructor(options: RegistryOptions) {
    const { gate, host, credentials, plainHttp = false, trustedRealms = [] } = options;
    this.#options = options;
    this.host = host;
    const origin = URL.parse(
      `http${plainHttp ? '' : 's'}://${host === 'docker.io' ? 'registry-1.docker.io' : host}/`,
    );
    if (origin === null) throw new CodedError('BAD_NAME', `not a registry host: ${printable(host)}`);
    this.origin = origin;
    this.#auth = new Authenticator({ gate, origin, host, credentials, trustedRealms });
  }

  /**
   * Tells the user what the registry does wrong, once.
   * @param kind what it does; @param example where it did so first
   */
  note(kind: string, example: string): void {
    if (this.#noted.has(kind)) return;
    this.#noted.add(kind);
    this.#options.onNote?.(`${this.host} ${kind} (${example})`);
  }

  /** @returns undefined where nothing is known that fits the refusal @see remedyFor */
  remedyFor(what: Refused, error: { readonly status?: number | undefined; readonly message: string }) {
    return remedyFor(this.#kind, what, error);
  }

  /** The kind of this registry, once an answer has shown it. */
  get kind(): RegistryKind | undefined {
    return this.#kind;
  }

  retryOptions(signal?: AbortSignal): RetryOptions {
    const { tries = 6, retry = {} } = this.#options;
    return { ...retry, tries, signal };
  }

  /** Like once(), tried again after what may pass by itself. */
  async request(request: RegistryRequest): Promise<GateResponse> {
    try {
      return await retrying(() => this.once(request), this.retryOptions(request.signal));
    } catch (error) {
      const isLimit = isCoded(error) && error.status === 429 && request.method === 'HEAD';
      throw isLimit ? await this.#limitError(request, error) : error;
    }
  }

  /** An answer to HEAD has no words, and those of a rate limit say what to do: GET is asked for them, once. */
  async #limitError(request: RegistryRequest, error: CodedError): Promise<CodedError> {
    this.#limitWords ??= this.#askWords(request).catch(() => undefined);
    const words = await this.#limitWords;
    if (words === undefined) return error;
    const { url, what } = request;
    return errorFor({ status: 429, headers: words.headers, url, peer: 'registry' }, words.body, what);
  }

  async #askWords({ url, headers, repository, scopes, signal }: RegistryRequest): Promise<Words | undefined> {
    const authorization = this.#isOwn(url)
      ? await this.#auth.authorization(repository, scopes, signal)
      : undefined;
    const request = { method: 'GET', peer: 'registry', url, headers, authorization, signal } as const;
    const response = await this.#options.gate.request(request);
    if (response.status === 429) return { headers: response.headers, body: await readErrorBody(response) };
    await response.cancel();
    return undefined;
  }

  /**
   * One request; after a 401 that a new token or credential may heal, another one.
   * @returns any answer but a transient one, whose body must be read or cancelled
   * @throws UPSTREAM with the status of a transient answer; NETWORK, EGRESS_DENIED, DENIED, ABORTED
   */
  async once(request: RegistryRequest): Promise<GateResponse> {
    const { what, repository, scopes, ...rest } = request;
    const { signal } = rest;
    for (let attempt = 1; ; attempt++) {
      // An upload may have been redirected: what it goes on with there has no credentials.
      const authorization = this.#isOwn(request.url)
        ? await this.#auth.authorization(repository, scopes, signal)
        : undefined;
      const response = await this.#options.gate.request({
        follow: true,
        peer: 'registry',
        ...rest,
        authorization,
      });
      if (this.#isOwn(response.url)) this.#kind ??= kindOf(this.host, response.headers);
      // A host that was redirected to has no say in how we log in.
      if (response.status === 401 && this.#isOwn(response.url)) {
        const refused = { repository, scopes, authorization, signal };
        const header = response.headers['www-authenticate'];
        const again =
          attempt === 1
            ? await this.#auth.refused(header, refused)
            : attempt === 2 && (await this.#auth.hasOtherPassword(refused));
        if (again) {
          await response.cancel();
          continue;
        }
      }
      if (isTransientStatus(response.status)) {
        const error = await errorFromResponse(response, what);
        const isRead = rest.method === 'GET' || rest.method === 'HEAD';
        throw this.#withRemedy(error, isRead ? 'request' : 'push');
      }
      return response;
    }
  }

  /**
   * The error for an answer: with where credentials were looked for, when it is one about rights.
   * @param body when it has been read already
   * @param refused what the registry was asked for
   */
  async error(
    response: GateResponse,
    what: string,
    repository: string,
    body?: ErrorBody,
    refused: Refused = 'pull',
  ): Promise<CodedError> {
    const error = errorFor(response, body ?? (await readErrorBody(response)), what);
    if (this.#isOwn(response.url)) {
      return this.#auth.explain(this.#withRemedy(error, refused), repository);
    }
    if (error.status !== 401 && error.status !== 403) return error;
    const where = printable(response.url.host);
    return new CodedError(
      error.code,
      `${error.message}; ${this.host} redirected this request to ${where}, where its credentials are not sent; if that is the same registry, use ${where} as its name`,
      { cause: error, status: error.status },
    );
  }

  #withRemedy(error: CodedError, what: Refused): CodedError {
    const remedy = this.remedyFor(what, error);
    if (remedy === undefined) return error;
    const { status, retryAfterMs } = error;
    return new CodedError(error.code, `${error.message}; ${remedy}`, { cause: error, status, retryAfterMs });
  }

  /**
   * A Location or Link of an answer.
   * @returns undefined when it is no URL or leads away from this registry's origin
   */
  ownReference(reference: string, asked: URL): URL | undefined {
    const url = this.logicalReference(reference, asked);
    return url !== undefined && this.#isOwn(url) ? url : undefined;
  }

  #isOwn(url: URL): boolean {
    return url.origin === this.origin.origin;
  }

  /** A URL reference of an answer, in its logical form. */
  logicalReference(reference: string, asked: URL): URL | undefined {
    const url = resolveReference(this.#options.gate.policy, reference, asked);
    if (url !== undefined) url.hash = '';
    return url;
  }

  /**
   * The next page of a list, which must lead to the registry itself.
   * @param what the list, beginning the message
   * @returns undefined on the last page
   * @throws UPSTREAM for a Link header that cannot be read; EGRESS_DENIED for a page elsewhere (T33)
   */
  nextPage(response: GateResponse, what: string): URL | undefined {
    const target = nextLink(response.headers['link'], what);
    if (target === undefined) return undefined;
    const url = this.ownReference(target, response.url);
    if (url === undefined) {
      throw new CodedError('EGRESS_DENIED', `${what}: refused the next page: ${printable(target)}`);
    }
    return url;
  }

  /** Runs tasks with the same key one after the other. */
  async inTurn<T>(key: string, task: () => Promise<T>): Promise<T> {
    const before = this.#turns.get(key) ?? Promise.resolve();
    const turn = before.then(task, task);
    this.#turns.set(key, turn);
    try {
      return await turn;
    } finally {
      if (this.#turns.get(key) === turn) this.#turns.delete(key);
    }
  }
}

interface RepositoryRequest extends Omit<RegistryRequest, 'url' | 'what' | 'repository' | 'scopes'> {
  /** Below `/v2/<path>/`, or a URL that the registry gave. */
  readonly at: string | URL;
  /** Such as `push sha256:…`; the repository's name is added. */
  readonly doing: string;
  /** Needed besides that to pull. */
  readonly right?: 'push' | 'delete' | undefined;
  /** A sibling repository to be read as well. */
  readonly from?: string | undefined;
}

/** As scopes write them: in byte order. */
const rightsWithPull = { push: 'pull,push', delete: 'delete,pull' } as const;

export class RepositoryView {
  readonly registry: RegistrySession;
  readonly path: string;

  constructor(registry: RegistrySession, path: string) {
    this.registry = registry;
    this.path = path;
  }

  /** Host and path, for messages. */
  get name(): string {
    return `${this.registry.host}/${this.path}`;
  }

  /** One request, tried again after what may pass by itself. */
  request(request: RepositoryRequest): Promise<GateResponse> {
    return this.registry.request(this.#complete(request));
  }

  /** One request. */
  once(request: RepositoryRequest): Promise<GateResponse> {
    return this.registry.once(this.#complete(request));
  }

  /** The error for an answer, as the session has it. @param doing as in a request */
  error(response: GateResponse, doing: string, body?: ErrorBody, refused?: Refused): Promise<CodedError> {
    return this.registry.error(response, `${doing} (${this.name})`, this.path, body, refused);
  }

  url(below: string): URL {
    return new URL(`/v2/${this.path}/${below}`, this.registry.origin);
  }

  #complete(request: RepositoryRequest): RegistryRequest {
    const { at, doing, right, from, ...rest } = request;
    const scopes = [`repository:${this.path}:${right === undefined ? 'pull' : rightsWithPull[right]}`];
    if (from !== undefined) scopes.push(`repository:${from}:pull`);
    return {
      ...rest,
      url: typeof at === 'string' ? this.url(at) : at,
      what: `${doing} (${this.name})`,
      repository: this.path,
      scopes,
    };
  }
}
