/** A registry over the HTTP gate. Source: opencontainers/distribution-spec v1.1.1. */
import { CodedError } from '../base/errors.ts';
import { printable } from '../base/printable.ts';
import { errorFromResponse } from '../http/error-response.ts';
import { isRegistryHost, isRepository } from '../model/reference.ts';
import { RepositoryClient } from './repository.ts';
import { RepositorySession } from './repository-session.ts';
import { type RegistryOptions, RegistrySession } from './session.ts';

export class RegistryClient {
  readonly host: string;
  readonly #session: RegistrySession;

  /** @throws BAD_NAME for a malformed host */
  constructor(options: RegistryOptions) {
    if (!isRegistryHost(options.host)) {
      throw new CodedError('BAD_NAME', `not a registry host: ${printable(options.host)}`);
    }
    this.host = options.host;
    this.#session = new RegistrySession(options);
  }

  /** Checks that a registry answers and lets us in. @throws DENIED, UPSTREAM, NETWORK, EGRESS_DENIED */
  async ping(signal?: AbortSignal): Promise<void> {
    const what = `reach registry ${this.host}`;
    const response = await this.#session.request({
      method: 'GET',
      url: new URL('/v2/', this.#session.origin),
      what,
      repository: '',
      scopes: [],
      signal,
    });
    if (response.status !== 200) throw await errorFromResponse(response, what);
    await response.cancel();
  }

  /** @param path such as `siderolabs/omni` @throws BAD_NAME */
  repository(path: string): RepositoryClient {
    if (!isRepository(path)) throw new CodedError('BAD_NAME', `not a repository path: ${printable(path)}`);
    return new RepositoryClient(new RepositorySession(this.#session, path));
  }
}
