/**
 * The registry of a site from its two sources: the site file, which says how machines reach it, and load, which reached
 * it. Where both say something about one registry they must agree.
 */
import { TalosError } from '../errors.ts';
import type { Site } from '../site.ts';

export interface ReachedRegistry {
  /** Host with port. */
  readonly host: string;
  /** Path in front of every repository, or empty. */
  readonly prefix: string;
  readonly plainHttp: boolean;
}

/**
 * @param reached as load reached it
 * @returns the registry as machines reach it: host of the site file; its prefix and scheme, or those of load
 * @throws BAD_YAML with FILE:LINE:COLUMN where the site file contradicts load
 */
export function registryOfSite({ registry }: Site, reached: ReachedRegistry): ReachedRegistry {
  if (registry === undefined) return reached;
  const { host, prefix = reached.prefix, plainHttp = reached.plainHttp, place } = registry;
  // By another host, scheme and prefix may differ as well, if the site file says both.
  const isOther = host !== reached.host && registry.plainHttp !== undefined;
  if (isOther || (prefix === reached.prefix && plainHttp === reached.plainHttp))
    return { host, prefix, plainHttp };
  const expected = registryUrl({ ...reached, host });
  const says =
    prefix === reached.prefix ? `the scheme of ${registryUrl({ host, prefix, plainHttp })}` : named(prefix);
  const uses =
    prefix === reached.prefix ? (reached.plainHttp ? 'plain HTTP' : 'HTTPS') : named(reached.prefix);
  const other =
    host === reached.host
      ? ''
      : `; if ${host} is another way to it, give scheme and prefix: ${registryUrl({ host, prefix, plainHttp })}`;
  throw new TalosError(
    'BAD_YAML',
    `${place}: registry has ${says}, but load uses ${uses}; write ${expected}${other}`,
  );
}

function named(prefix: string): string {
  return prefix === '' ? 'no prefix' : `the prefix ${prefix}`;
}

/** `https://HOST[/PREFIX]` */
export function registryUrl({ host, prefix, plainHttp }: ReachedRegistry): string {
  return `${plainHttp ? 'http' : 'https'}://${host}${prefix === '' ? '' : `/${prefix}`}`;
}
