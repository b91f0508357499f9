/** The one HTTP gate: egress policy, connections, records, retries. */

export { giveBack } from './chunk-memory.ts';
export {
  type EgressLog,
  type EgressRecord,
  type EgressSink,
  openEgressLog,
} from './egress-log.ts';
export { type ErrorBody, errorFor, errorFromResponse, readErrorBody } from './error-response.ts';
export {
  type GateOptions,
  type GateRequest,
  HttpGate,
  type Method,
  type Patience,
  type StreamBody,
} from './gate.ts';
export { parseHostPattern } from './host.ts';
export { Pacing } from './pacing.ts';
export { checkUrl, type EgressPolicy, hostAllowed } from './policy.ts';
export { type ProxySettings, proxyFor, proxyFromEnvironment, proxyFromFlag } from './proxy.ts';
export type { GateResponse } from './response.ts';
export {
  backOff,
  isTransient,
  isTransientStatus,
  parseRetryAfter,
  type RetryOptions,
  retrying,
  throwIfAborted,
} from './retry.ts';
export { logicalUrl, parseUpstream, type Upstream } from './upstream.ts';
