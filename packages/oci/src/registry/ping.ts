/** Whether a registry answers and lets us in. Source: distribution-spec v1.1.1 spec.md#determining-support. */
import { saysPage, unexpectedAnswer } from '../http/web-page.ts';
import type { RegistrySession } from './session.ts';

/**
 * @param repository whose credentials are used: those of a part of the registry may be all there are
 * @throws DENIED, UPSTREAM, NETWORK, EGRESS_DENIED
 */
export async function ping(
  registry: RegistrySession,
  repository: string,
  signal: AbortSignal | undefined,
): Promise<void> {
  const what = `reach registry ${registry.host}`;
  const response = await registry.request({
    method: 'GET',
    url: new URL('/v2/', registry.origin),
    what,
    repository,
    scopes: [],
    signal,
  });
  if (response.status !== 200) throw await registry.error(response, what, repository);
  await response.cancel();
  if (saysPage(response)) throw unexpectedAnswer(response, what, 'the API of a registry');
}
