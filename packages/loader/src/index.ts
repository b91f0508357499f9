/** Bringing a bundle into the registry and object store of a site. */
export { checkInside, type InsideReport } from './inside-check/check-inside.ts';
export { dryRun, type LoadReport, load } from './load.ts';
export type { LoadOptions } from './load-options.ts';
export type { PlannedLoad } from './plan.ts';
export { readSite } from './site-file.ts';
export { parseRegistryTarget } from './target-names.ts';
