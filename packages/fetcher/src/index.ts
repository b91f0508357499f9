/** mirror.yaml, and bringing a store to what it says. */

export { type CheckedHost, checkEgress, type EgressCheck } from './egress/check.ts';
export { type EgressSummary, summarizeLog } from './egress/log.ts';
export { type PortRules, portRules } from './egress/ports.ts';
export { egressRules, formatNftables } from './egress/rules.ts';
export { defaultTransfers, type FetchReport, fetch } from './fetch.ts';
export { init } from './init.ts';
export { type Plan, plan } from './plan.ts';
export type { SignerOptions } from './signed-images.ts';
