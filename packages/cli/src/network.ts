/** What the flags about the network mean, outside and inside. */

import { proxyFromEnvironment, proxyFromFlag } from '@omni-airgap/oci/http';
import type { NetworkSettings } from '@omni-airgap/oci/registry';
import { passphraseOf, type Session } from './session.ts';

export interface NetworkFlags {
  readonly upstream: readonly string[];
  readonly allowHost: readonly string[];
  readonly plainHttp: readonly string[];
  readonly caCert?: string | undefined;
  readonly registryConfig?: string;
  /** Inside only. */
  readonly proxy?: string;
  readonly clientCert?: string;
  readonly clientKey?: string;
  /** Of commands that move content. */
  readonly minRate?: number;
}

/**
 * @param isOutside there the environment names the proxy; inside, nothing is used that was not named by a flag
 * @throws CONFIG, USAGE for a proxy that is no URL, or an empty passphrase
 */
export function networkSettings(
  flags: NetworkFlags,
  env: Session['env'],
  isOutside: boolean,
): NetworkSettings {
  const named = flags.proxy === undefined ? undefined : proxyFromFlag(flags.proxy);
  const proxy = isOutside ? proxyFromEnvironment(env) : named;
  return {
    upstreams: flags.upstream,
    allowHosts: flags.allowHost,
    plainHttp: flags.plainHttp,
    caCert: flags.caCert,
    registryConfig: flags.registryConfig,
    clientCert: flags.clientCert,
    clientKey: flags.clientKey,
    clientKeyPassphrase: flags.clientKey === undefined ? undefined : passphraseOf(env),
    proxy,
    minRate: flags.minRate,
    env,
  };
}
