/** Bringing a bundle into the registry and object store of a site. */

export { readSite } from './handoff.ts';
export { checkInside, type InsideReport } from './inside-check/check-inside.ts';
export { refusalsOf } from './judge.ts';
export { dryRun, type LoadReport, load } from './load.ts';
export type { MissingItem } from './missing.ts';
export type { LoadOptions } from './options.ts';
export type { PlannedLoad } from './plan.ts';
export { type LoadSource, openBundles } from './source.ts';
export { parseRegistryTarget } from './targets/names.ts';
