/**
 * A wish: something that was asked for and is not carried. Wishes leave the site on paper or as a file and become
 * part of a mirror.yaml, so each field is checked against its grammar here, whoever the wish came from.
 */

import { CodedError, type JsonValue } from '@omni-airgap/oci/base';
import { isRegistryHost, isRepository, parseReference, subjectOfTag } from '@omni-airgap/oci/model';
import {
  decodeSchematic,
  isMediaName,
  isSchematicId,
  isTalosctlName,
  isVersion,
  parseInstallerRepository,
  schematicId,
  validateSchematic,
} from '@omni-airgap/talos';
import { parseInstallerPath } from '../registry/installers.ts';

export type WishSubject =
  | {
      readonly kind: 'schematic';
      readonly id: string;
      /** Canonical text; left out when it holds a secret or is too long to keep. */
      readonly text?: string;
      /** Places that look like a secret, such as `customization.extraKernelArgs[0]: a join token`. */
      readonly secrets: readonly string[];
      /** Releases of the Image Factory that give it this ID, where others give it another: `1.1 to 1.4`. */
      readonly factories?: readonly string[];
    }
  | { readonly kind: 'media'; readonly schematic: string; readonly version: string; readonly file: string }
  | {
      readonly kind: 'installer';
      readonly schematic: string;
      readonly version: string;
      /** Such as `metal-installer-secureboot`. */
      readonly repository: string;
    }
  | { readonly kind: 'version'; readonly version: string }
  | { readonly kind: 'talosctl'; readonly version: string; readonly file: string }
  | { readonly kind: 'image'; readonly reference: string };

export type Wish = WishSubject & {
  /** ISO 8601, of the first and the last time it was asked for. */
  readonly first: string;
  readonly last: string;
  readonly count: number;
};

/** Two wishes with the same key are one. */
export function wishKey(wish: WishSubject): string {
  switch (wish.kind) {
    case 'schematic':
      return `schematic ${wish.id}`;
    case 'media':
      return `media ${wish.schematic} ${wish.version} ${wish.file}`;
    case 'installer':
      return `installer ${wish.schematic} ${wish.version} ${wish.repository}`;
    case 'version':
      return `version ${wish.version}`;
    case 'talosctl':
      return `talosctl ${wish.version} ${wish.file}`;
    case 'image':
      return `image ${wish.reference}`;
  }
}

/** In one line, for people. */
export function describeWish(wish: WishSubject): string {
  switch (wish.kind) {
    case 'schematic':
      return `schematic ${wish.id}`;
    case 'media':
      return `${wish.file} of Talos ${wish.version} with schematic ${wish.schematic}`;
    case 'installer':
      return `${wish.repository} of Talos ${wish.version} with schematic ${wish.schematic}`;
    case 'version':
      return `Talos ${wish.version}`;
    case 'talosctl':
      return `${wish.file} of Talos ${wish.version}`;
    case 'image':
      return `image ${wish.reference}`;
  }
}

const timePattern = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d{1,6})?Z$/;
const factoriesPattern = /^[0-9a-z. ]{1,40}$/;
/** What findSecrets says: a field and a kind. */
const secretPattern = /^[A-Za-z0-9_.[\]*-]{1,300}: [A-Za-z0-9 ()_*-]{1,100}$/;

/** @param value from strict JSON @throws BAD_DOCUMENT naming the entry */
export function parseWish(value: JsonValue, where: string): Wish {
  const bad = (what: string): CodedError => new CodedError('BAD_DOCUMENT', `${where}: ${what}`);
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw bad('not an object');
  const field = (name: string, fits: (text: string) => boolean): string => {
    const text = value[name];
    if (typeof text !== 'string' || !fits(text)) throw bad(`${name} is missing or malformed`);
    return text;
  };
  const isTime = (text: string): boolean => timePattern.test(text);
  const count = value['count'];
  if (typeof count !== 'number' || !Number.isSafeInteger(count) || count < 1) throw bad('count is malformed');
  const seen = { first: field('first', isTime), last: field('last', isTime), count };
  const kind = value['kind'];
  switch (kind) {
    case 'schematic': {
      const id = field('id', isSchematicId);
      const { secrets, text } = value;
      if (!Array.isArray(secrets) || !secrets.every((s) => typeof s === 'string' && secretPattern.test(s))) {
        throw bad('secrets is malformed');
      }
      const { factories } = value;
      const fits = (one: JsonValue): boolean => typeof one === 'string' && factoriesPattern.test(one);
      if (factories !== undefined && !(Array.isArray(factories) && factories.every(fits))) {
        throw bad('factories is malformed');
      }
      const known = {
        ...(factories === undefined ? {} : { factories: factories as string[] }),
        secrets: secrets as string[],
      };
      if (text === undefined) return { kind, id, ...known, ...seen };
      if (typeof text !== 'string' || !hasId(text, id)) throw bad('text is not the schematic with this id');
      return { kind, id, text, ...known, ...seen };
    }
    case 'media':
      return {
        kind,
        schematic: field('schematic', isSchematicId),
        version: field('version', isVersion),
        file: field('file', isMediaName),
        ...seen,
      };
    case 'installer':
      return {
        kind,
        schematic: field('schematic', isSchematicId),
        version: field('version', isVersion),
        repository: field('repository', (text) => parseInstallerRepository(text) !== undefined),
        ...seen,
      };
    case 'version':
      return { kind, version: field('version', isVersion), ...seen };
    case 'talosctl':
      return { kind, version: field('version', isVersion), file: field('file', isTalosctlName), ...seen };
    case 'image':
      return { kind, reference: field('reference', isReference), ...seen };
    default:
      throw bad('kind is not known; this may come from a newer omni-airgap');
  }
}

function hasId(text: string, id: string): boolean {
  try {
    validateSchematic(decodeSchematic(text));
    return schematicId(text) === id;
  } catch {
    return false;
  }
}

function isReference(text: string): boolean {
  try {
    return isRepository(parseReference(text).repository);
  } catch {
    return false;
  }
}

/**
 * @param ns the registry that a mirror was asked in place of, as containerd says it
 * @returns undefined for what nobody could carry out
 */
export function wishOfImage(
  repository: string,
  reference: string,
  ns: string | null,
): WishSubject | undefined {
  // Signatures are requested wherever there are none.
  if (subjectOfTag(reference) !== undefined) return undefined;
  const installer = parseInstallerPath(repository);
  if (installer !== undefined) {
    if (!isVersion(reference)) return undefined;
    const { schematic, name } = installer;
    return { kind: 'installer', schematic, version: reference, repository: name };
  }
  const host = ns !== null && isRegistryHost(ns) ? `${ns}/` : '';
  if (host === '' && !/^[a-z0-9-]+(?:\.[a-z0-9-]+)+\//.test(repository)) return undefined;
  const text = `${host}${repository}${reference.includes(':') ? '@' : ':'}${reference}`;
  return isReference(text) ? { kind: 'image', reference: text } : undefined;
}
