/** mirror.yaml, and bringing a store to what it says. */
export { type FetchOptions, type FetchReport, fetch } from './fetch.ts';
export { init } from './init.ts';
export { type Plan, type PlannedItem, type PlanOptions, plan } from './plan.ts';
