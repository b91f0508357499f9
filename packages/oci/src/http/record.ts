/**
 * What the gate records: one entry per request and per refusal, for whoever approves or reviews what the connected
 * host did. Never a query, a header or a credential (threat T53).
 */

/** One request that was made, or one that was refused. */
export interface EgressRecord {
  /** ISO 8601, when the request was made. */
  readonly time: string;
  /** Logical host, with port when not the scheme's own. */
  readonly host: string;
  /** The address connected to; empty when no connection was made or a proxy made it. */
  readonly address: string;
  readonly method: string;
  /** Path without query. */
  readonly path: string;
  /** Absent when there was no answer. */
  readonly status?: number | undefined;
  /** Body bytes moved, in both directions. */
  readonly bytes: number;
  readonly digest?: string | undefined;
  readonly via?: 'proxy' | undefined;
  /** Why the request was not made. */
  readonly refused?: string | undefined;
}

/** Who keeps the records, such as class Store in egress.jsonl. */
export interface EgressSink {
  record(record: EgressRecord): void;
}
