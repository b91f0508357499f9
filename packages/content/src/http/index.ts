/** The one HTTP gate: egress policy, connections, records, retries. */
export * from './address.ts';
export * from './egress-log.ts';
export * from './error-response.ts';
export * from './gate.ts';
export * from './host.ts';
export * from './policy.ts';
export * from './proxy.ts';
export * from './response.ts';
export * from './retry.ts';
export * from './upstream.ts';
