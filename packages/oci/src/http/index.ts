/** The one HTTP gate: egress policy, connections, retries. */

export { failureOf } from './failure.ts';
export { HttpGate, type Method, type SlowHosts, type StreamBody } from './gate.ts';
export { type EgressPolicy, hostAllowed, isPlainHttp, parseUpstream } from './policy.ts';
export { addressesOf, askDatagram, openTcp, openTls } from './probe.ts';
export { type ProxySettings, proxyFor, proxyFromEnvironment, proxyFromFlag } from './proxy.ts';
export { TooSlow } from './rate.ts';
export type { EgressRecord, EgressSink } from './record.ts';
export type { GateResponse } from './response.ts';
export { errorFromResponse } from './response.ts';
export { abortable, backOff, isTransient, type RetryOptions, retrying } from './retry.ts';
export { looksLikePage, saysPage, unexpectedAnswer } from './web-page.ts';
