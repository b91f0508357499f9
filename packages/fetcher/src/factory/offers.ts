/** What the Image Factory offers for each Talos version: its catalogs, asked for once in a command. */
import { CodedError, isCoded, messageOf, parseStrictJson } from '@omni-airgap/oci/base';
import { isDigest } from '@omni-airgap/oci/model';
import { isDemanding, officialPath, type Schematic, unofferedParts } from '@omni-airgap/talos';
import * as v from 'valibot';
import type { FactoryClient } from './client.ts';

/** The real lists have some ten kilobytes. */
export const maxListBytes: number = 4 * 1024 * 1024;

type Catalog = 'extensions' | 'overlays';

export class Offers {
  readonly #factory: FactoryClient;
  readonly #answers = new Map<string, Promise<Uint8Array | undefined>>();

  constructor(factory: FactoryClient) {
    this.#factory = factory;
  }

  /** The list at a path of the factory; undefined where it has none. @throws as FactoryClient.getOffered */
  list(path: string): Promise<Uint8Array | undefined> {
    const asked = this.#answers.get(path) ?? this.#factory.getOffered(path, maxListBytes);
    this.#answers.set(path, asked);
    return asked;
  }

  /**
   * Why the factory cannot build a schematic for a Talos version, as CONFIG. Without its catalogs nothing is known
   * against it: what cannot be read is a failure of the list.
   */
  async refusal(schematic: Schematic, version: string, place: string): Promise<CodedError | undefined> {
    if (!isDemanding(schematic)) return undefined;
    const [extensions, overlays] = await Promise.all([
      this.#names(version, 'extensions'),
      this.#names(version, 'overlays'),
    ]);
    const missing = unofferedParts(schematic, { extensions, overlays });
    if (missing.length === 0) return undefined;
    return new CodedError('CONFIG', `${place}: for Talos ${version}, ${missing.join('; ')}`);
  }

  async #names(version: string, catalog: Catalog): Promise<readonly string[] | undefined> {
    const path = officialPath(version, catalog);
    try {
      const bytes = await this.list(path);
      return bytes && catalogNames(bytes, path);
    } catch (error) {
      if (isCoded(error) && error.code !== 'ABORTED') return undefined;
      throw error;
    }
  }
}

/** @throws UPSTREAM for an answer of the factory that is not JSON */
export function jsonOf(bytes: Uint8Array, what: string): unknown {
  try {
    return parseStrictJson(bytes, { what });
  } catch (cause) {
    throw new CodedError('UPSTREAM', messageOf(cause), { cause });
  }
}

const text = v.optional(v.string());
/** Extensions and overlays. Source: siderolabs/image-factory pkg/client/client.go (ExtensionInfo, OverlayInfo). */
const catalogSchema = v.array(
  v.looseObject({
    name: v.pipe(v.string(), v.minLength(1)),
    ref: text,
    image: text,
    digest: v.optional(
      v.pipe(
        v.string(),
        v.check((value) => isDigest(value), 'it is not a digest'),
      ),
    ),
    author: text,
    description: text,
  }),
);

/** Names of the extensions or overlays that a list of the factory offers. @throws UPSTREAM */
export function catalogNames(bytes: Uint8Array, path: string): readonly string[] {
  const result = v.safeParse(catalogSchema, jsonOf(bytes, path));
  if (result.success) return result.output.map(({ name }) => name);
  const [issue] = result.issues;
  const where = v.getDotPath(issue) ?? 'the list';
  throw new CodedError(
    'UPSTREAM',
    `${path}: the factory's answer is not a catalog: ${where}: ${issue.message}`,
  );
}
