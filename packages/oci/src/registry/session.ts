/** Requests to one registry: logged in, tried again, and always to the registry itself first. */
import { CodedError } from '../base/errors.ts';
import { printable } from '../base/printable.ts';
import { errorFromResponse } from '../http/error-response.ts';
import type { GateRequest, HttpGate } from '../http/gate.ts';
import type { GateResponse } from '../http/response.ts';
import { isTransientStatus, type RetryOptions, retrying } from '../http/retry.ts';
import { resolveReference } from '../http/upstream.ts';
import { Authenticator } from './auth.ts';
import type { CredentialSource } from './credentials.ts';

export interface RegistryOptions {
  readonly gate: HttpGate;
  /** As in references: `ghcr.io`, `registry.lab:5000`; `docker.io` stands for registry-1.docker.io. */
  readonly host: string;
  readonly credentials?: CredentialSource;
  /** Speak plain HTTP; the gate's policy must allow it too. */
  readonly plainHttp?: boolean;
  /** Hosts besides the registry's own that may give out its tokens. */
  readonly trustedRealms?: readonly string[];
  /** Attempts for what may pass by itself; default 6. */
  readonly tries?: number;
  /** Hooks into waiting: progress, and tests. */
  readonly retry?: Pick<RetryOptions, 'onRetry' | 'random' | 'sleep'>;
}

export interface RegistryRequest extends Omit<GateRequest, 'url' | 'authorization' | 'signal'> {
  /** Below the registry's origin. */
  readonly url: URL;
  /** What is being done, beginning error messages. */
  readonly what: string;
  /** Repository whose credentials are used; empty for the registry as a whole. */
  readonly repository: string;
  readonly scopes: readonly string[];
  readonly signal?: AbortSignal | undefined;
}

/** What the registry was found not to take, so that it is not tried again with the next blob. */
export interface UploadLimits {
  /** Bytes of the smallest request body that was answered 413; infinite while there was none. */
  tooLargeBytes: number;
  /** Whether a blob in one PUT is no way to push, as in Artifactory: it takes PATCH only. */
  chunksOnly: boolean;
}

export class RegistrySession {
  readonly host: string;
  /** Logical origin. */
  readonly origin: URL;
  readonly uploadLimits: UploadLimits = { tooLargeBytes: Number.POSITIVE_INFINITY, chunksOnly: false };
  readonly #options: RegistryOptions;
  readonly #auth: Authenticator;
  readonly #turns = new Map<string, Promise<unknown>>();

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

  retryOptions(signal?: AbortSignal): RetryOptions {
    const { tries = 6, retry = {} } = this.#options;
    return { ...retry, tries, signal };
  }

  /** Like once(), tried again after what may pass by itself. */
  request(request: RegistryRequest): Promise<GateResponse> {
    return retrying(() => this.once(request), this.retryOptions(request.signal));
  }

  /**
   * One request; after a 401 that a new token may heal, one more.
   * @returns any answer but a transient one, whose body must be read or cancelled
   * @throws UPSTREAM with the status of a transient answer; NETWORK, EGRESS_DENIED, DENIED, ABORTED
   */
  async once(request: RegistryRequest): Promise<GateResponse> {
    const { what, repository, scopes, signal, ...rest } = request;
    if (request.url.origin !== this.origin.origin) {
      throw new CodedError('INTERNAL', `${what}: ${request.url.origin} is not ${this.origin.origin}`);
    }
    for (let attempt = 1; ; attempt++) {
      const authorization = await this.#auth.authorization(repository, scopes, signal);
      const response = await this.#options.gate.request({
        ...rest,
        ...(signal === undefined ? {} : { signal }),
        ...(authorization === undefined ? {} : { authorization }),
      });
      // A host that was redirected to has no say in how we log in.
      if (response.status === 401 && attempt === 1 && response.url.origin === this.origin.origin) {
        const header = response.headers['www-authenticate'];
        if (await this.#auth.refused(header, scopes, authorization)) {
          await response.cancel();
          continue;
        }
      }
      if (isTransientStatus(response.status)) throw await errorFromResponse(response, what);
      return response;
    }
  }

  /**
   * A Location or Link of an answer.
   * @returns undefined when it is no URL or leads away from this registry's origin
   */
  ownReference(reference: string, asked: URL): URL | undefined {
    const url = this.logicalReference(reference, asked);
    return url?.origin === this.origin.origin ? url : undefined;
  }

  /** A URL reference of an answer, in its logical form. */
  logicalReference(reference: string, asked: URL): URL | undefined {
    const url = resolveReference(this.#options.gate.policy, reference, asked);
    if (url !== undefined) url.hash = '';
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
