/**
 * Names of what was pushed into a layout that a registry serves: `registry.local/<repository>:<tag>`, and beside it
 * `registry.local/<repository>@<digest>`, so that a manifest stays when its tag moves on. No real registry has this host.
 */
import { isCoded } from '../base/errors.ts';
import { formatReference, parseReference, type Reference } from '../model/reference.ts';

const pushedHost = 'registry.local';

/** A repository with a tag or a digest in it. */
export type PushedName = Pick<Reference, 'repository' | 'tag' | 'digest'>;

/** The name under which a push is kept. */
export function formatPushedName({ repository, tag, digest }: PushedName): string {
  return formatReference({
    registry: pushedHost,
    repository,
    ...(tag === undefined ? {} : { tag }),
    ...(digest === undefined ? {} : { digest }),
  });
}

/** Undefined for the name of anything else. */
export function parsePushedName(name: string): PushedName | undefined {
  if (!name.startsWith(`${pushedHost}/`)) return undefined;
  try {
    const { registry: _, ...pushed } = parseReference(name);
    return pushed;
  } catch (error) {
    if (isCoded(error, 'BAD_NAME')) return undefined;
    throw error;
  }
}
