/** A site's own authority, certificates, keys and log-ins: what `site init` makes. */

export { type Ask, initSite, type SiteInit, type SiteInitReport } from './init-site.ts';
export type { Expiry } from './site-folder.ts';
