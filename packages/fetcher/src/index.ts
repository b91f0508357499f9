/** mirror.yaml, and bringing a store to what it says. */

export { type CheckedHost, checkEgress, type EgressCheck } from './egress/check.ts';
export { type EgressSummary, summarizeLog } from './egress/log.ts';
export { egressRules, formatNftables, type PortRules, portRules } from './egress/rules.ts';
export { type FetchReport, fetch, prepareFetch, repairNote } from './fetch.ts';
export type { ChosenRange } from './mirror/chosen-versions.ts';
export { init } from './mirror/init.ts';
export { labelOf } from './mirror/version-range.ts';
export { type Outdated, outdated, outdatedFailure } from './outdated.ts';
export { type Plan, plan, planFailure } from './plan.ts';
export type { SignerOptions } from './signatures/signers.ts';
export type { PlannedUpgrade } from './upgrade.ts';
