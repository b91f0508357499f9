/** An answer: status, headers, and a body that is read once, bounded when it is read whole. */

import { type JsonObject, parseStrictObject } from '../base/json.ts';
import { collect } from '../model/bytes.ts';
import type { Bytes } from '../storage.ts';
import type { Exchange, Head } from './exchange.ts';
import { shown } from './failure.ts';

export interface GateResponse {
  readonly status: number;
  /** Lower-case names; repeated headers are joined with a comma. */
  readonly headers: Readonly<Record<string, string>>;
  /** Logical URL of the last hop. */
  readonly url: URL;
  /** To be read to its end, once, or cancelled. Errors while reading: NETWORK, ABORTED. */
  readonly body: Bytes;
  /** @param maxBytes default 1 MiB @throws BAD_DOCUMENT when there is more */
  text(maxBytes?: number): Promise<string>;
  /** @param what for messages @param maxBytes default 1 MiB @throws BAD_DOCUMENT unless it is a strict JSON object */
  json(what: string, maxBytes?: number): Promise<JsonObject>;
  /** Gives the body up; the connection is kept when little of it was left. */
  cancel(): Promise<void>;
}

const defaultMaxBytes = 1024 * 1024;

export function gateResponse(head: Head, body: Exchange, url: URL): GateResponse {
  return {
    status: head.status,
    headers: head.headers,
    url,
    body,
    text: async (maxBytes = defaultMaxBytes) =>
      Buffer.from(await collect(body, maxBytes, shown(url))).toString('utf8'),
    json: async (what, maxBytes = defaultMaxBytes) =>
      parseStrictObject(await collect(body, maxBytes, what), { what }),
    cancel: async () => body.cancel(),
  };
}
