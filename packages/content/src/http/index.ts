/** The one HTTP gate: egress policy, connections, records, retries. */

export { giveBack } from './chunk-memory.ts';
export { type EgressRecord, openEgressLog } from './egress-log.ts';
export { errorFromResponse } from './error-response.ts';
export { HttpGate, type Method, type Patience, type StreamBody } from './gate.ts';
export { checkUrl, type EgressPolicy, hostAllowed } from './policy.ts';
export { type ProxySettings, proxyFor, proxyFromEnvironment, proxyFromFlag } from './proxy.ts';
export type { GateResponse } from './response.ts';
export { backOff, isTransient, type RetryOptions, retrying, throwIfAborted } from './retry.ts';
export { parseUpstream } from './upstream.ts';
