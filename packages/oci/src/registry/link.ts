/** The next page of a list: RFC 8288 `Link: <…>; rel="next"`, which must lead to the registry itself. */
import { CodedError } from '../base/errors.ts';
import { printable } from '../base/printable.ts';
import type { GateResponse } from '../http/response.ts';
import type { RegistrySession } from './session.ts';

/** @returns undefined on the last page @throws EGRESS_DENIED for a page elsewhere (T33) */
export function nextPage(registry: RegistrySession, response: GateResponse): URL | undefined {
  const link = response.headers['link'];
  const target =
    link === undefined ? undefined : /^\s*<([^<>]{1,4096})>\s*;\s*rel="?next"?\s*$/i.exec(link)?.[1];
  if (target === undefined) return undefined;
  const url = registry.ownReference(target, response.url);
  if (url === undefined) {
    throw new CodedError(
      'EGRESS_DENIED',
      `refused the next page of a list of ${registry.host}: ${printable(target)}`,
    );
  }
  return url;
}
