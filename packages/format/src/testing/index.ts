/** For tests: bundles made in one call, and hostile volumes. */

export { type TestBundleOptions, writeTestBundle } from './bundle.ts';
export { hostileThreats, hostileVolumes } from './hostile-volumes.ts';
