/** Removing from a site what its loads brought and nothing there needs any more. Apart from loading, which does not need it. */

export { type ApplyOptions, applyPrune, type PruneReport } from './apply.ts';
export { parseKeepVersion, readInUse } from './in-use.ts';
export { type PlannedPrune, type PlanOptions, planPrune } from './plan.ts';
