/**
 * Who signs Sidero's images, without a key: people of the company, and its release account.
 * Sources: siderolabs/image-factory cmd/image-factory/cmd/options.go (what a factory expects by default);
 * docs.siderolabs.com, "Source Talos images".
 */

/** References of Sidero's own images begin with it. */
export const sideroPrefix = 'ghcr.io/siderolabs/';
/** A regular expression for the whole identity. */
export const sideroSigners: string = String.raw`[^@]+@siderolabs\.com|releasemgr-svc@talos-production\.iam\.gserviceaccount\.com`;
/** Who vouches for these identities. */
export const sideroIssuer = 'https://accounts.google.com';
