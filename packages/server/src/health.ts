/**
 * Whether the server can do its work: `/healthz` is red while content is known to be damaged or gone, `/readyz` while
 * the medium or store cannot be read at all.
 */
import { ageInDays } from '@omni-airgap/format';
import { isCoded } from '@omni-airgap/oci/base';
import type { Provenance } from './bundles.ts';
import { failed, json, plainText } from './factory/answer.ts';
import type { Answer, RouteGroup } from './http/message.ts';
import type { Damage, Integrity } from './integrity.ts';

export interface Health {
  readonly status: 'ok' | 'damaged';
  /** Without the names of this machine's files. */
  readonly damaged: readonly Pick<Damage, 'digest' | 'since'>[];
  /** What is served, and its age: nothing newer may be known here (T44). */
  readonly bundles: readonly {
    readonly id: string;
    readonly sequence: number;
    readonly createdAt: string;
    readonly days: number;
  }[];
}

const maxShown = 100;

export interface HealthContext {
  readonly integrity: Integrity;
  readonly provenance: readonly Provenance[];
}

export function healthOf({ integrity, provenance }: HealthContext): Health {
  const damage = integrity.damage();
  return {
    status: damage.length === 0 ? 'ok' : 'damaged',
    damaged: damage.slice(0, maxShown).map(({ digest, since }) => ({ digest, since })),
    bundles: provenance.map(({ id, sequence, createdAt }) => ({
      id,
      sequence,
      createdAt,
      days: ageInDays(createdAt),
    })),
  };
}

export function healthRoutes(context: HealthContext): RouteGroup {
  return {
    match: ([path, ...more]) => {
      if (more.length > 0) return undefined;
      if (path === 'healthz') {
        return {
          GET: async () => {
            await context.integrity.recheck();
            const health = healthOf(context);
            return json(health.status === 'ok' ? 200 : 503, health);
          },
        };
      }
      return path === 'readyz' ? { GET: () => ready(context) } : undefined;
    },
    routeOf: () => 'health',
    methodNotAllowed: () => plainText(405, 'Method Not Allowed'),
    failed,
  };
}

async function ready({ integrity }: HealthContext): Promise<Answer> {
  try {
    await integrity.requireMedium();
  } catch (error) {
    if (!isCoded(error, 'DISK')) throw error;
    return plainText(503, 'not ready: the medium or store cannot be read');
  }
  return plainText(200, 'ready');
}
