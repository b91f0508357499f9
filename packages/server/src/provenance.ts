/** Where a bundle comes from, as its signed bundle.json says it. */

export interface Provenance {
  readonly id: string;
  readonly origin: string;
  readonly sequence: number;
  /** ISO 8601. */
  readonly createdAt: string;
  readonly createdBy?: string;
  /** Fingerprint of the key its signature was checked with; undefined when nobody's was. */
  readonly signedBy: string | undefined;
}
