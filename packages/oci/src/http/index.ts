/** The one HTTP gate: egress policy, connections, retries. */

export { errorFromResponse } from './error-response.ts';
export { HttpGate, type Method, type Patience, type StreamBody } from './gate.ts';
export { type EgressPolicy, hostAllowed } from './policy.ts';
export { type ProxySettings, proxyFor, proxyFromEnvironment, proxyFromFlag } from './proxy.ts';
export type { EgressRecord, EgressSink } from './record.ts';
export type { GateResponse } from './response.ts';
export { backOff, isTransient, type RetryOptions, retrying } from './retry.ts';
export { parseUpstream } from './upstream.ts';
