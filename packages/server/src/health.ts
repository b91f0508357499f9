/**
 * Whether the server can do its work: `/healthz` is red while content is known to be damaged or gone, `/readyz` while
 * the medium or store cannot be read at all.
 */
import { ageInDays } from '@omni-airgap/format';
import { isCoded } from '@omni-airgap/oci/base';
import type { Digest } from '@omni-airgap/oci/model';
import type { Provenance } from './bundles.ts';
import { failed, json, plainText } from './factory/answer.ts';
import type { Answer, RouteGroup } from './http/message.ts';

export interface Health {
  readonly status: 'ok' | 'damaged' | 'unreachable';
  /** Registry and object store behind this server, where there are some, and whether they answer. */
  readonly targets?: readonly Pick<TargetState, 'name' | 'place' | 'ok'>[];
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

/** Content that could not be given. */
export interface Damage {
  readonly digest: Digest;
  /** ISO 8601. */
  readonly since: string;
  /** For the log: may name files of this machine. */
  readonly problem: string;
}

/** For metrics: answers with content from files, by how it was verified; and contents that need no verification. */
export interface FileCounts {
  readonly reads: Readonly<Record<string, number>>;
  readonly verified: number;
}

/** A server that content comes from. */
export interface TargetState {
  /** `registry` or `object store`. */
  readonly name: string;
  /** How people name it. */
  readonly place: string;
  readonly ok: boolean;
  /** For the log. */
  readonly problem?: string;
}

/** How the place is where the content comes from. */
export interface Condition {
  /** Looks again at what was gone. */
  recheck(): Promise<void>;
  /** What was found damaged or gone and has not been seen right since. */
  damage(): readonly Damage[];
  /** @throws DISK, UPSTREAM, NETWORK when nothing can be read at all */
  requireMedium(signal?: AbortSignal): Promise<void>;
  /** For metrics: contents that were hashed, by result. */
  readonly verifications: Readonly<Record<'passed' | 'failed', number>>;
  /** Of the last recheck; left out where content lies in files. */
  targets?(): readonly TargetState[];
  /** Undefined where content does not lie in files. */
  readonly files?: FileCounts | undefined;
}

export interface HealthContext {
  readonly condition: Condition;
  readonly provenance: readonly Provenance[];
}

export function healthOf({ condition, provenance }: HealthContext): Health {
  const damage = condition.damage();
  const targets = condition.targets?.().map(({ name, place, ok }) => ({ name, place, ok }));
  const isReached = targets?.every(({ ok }) => ok) ?? true;
  return {
    status: !isReached ? 'unreachable' : damage.length === 0 ? 'ok' : 'damaged',
    ...(targets === undefined ? {} : { targets }),
    damaged: damage.slice(0, maxShown).map(({ digest, since }) => ({ digest, since })),
    bundles: provenance.map(({ id, sequence, createdAt }) => ({
      id,
      sequence,
      createdAt,
      days: ageInDays(createdAt),
    })),
  };
}

export function healthRoutes(context: HealthContext & { readonly isDraining: () => boolean }): RouteGroup {
  return {
    match: ([path, ...more]) => {
      if (more.length > 0) return undefined;
      if (path === 'healthz') {
        return {
          GET: async () => {
            await context.condition.recheck();
            const health = healthOf(context);
            return json(health.status === 'ok' ? 200 : 503, health);
          },
        };
      }
      if (path !== 'readyz') return undefined;
      return {
        GET: () =>
          context.isDraining() ? plainText(503, 'not ready: this server is ending') : ready(context),
      };
    },
    routeOf: () => 'health',
    methodNotAllowed: () => plainText(405, 'Method Not Allowed'),
    failed,
  };
}

async function ready({ condition }: HealthContext): Promise<Answer> {
  try {
    await condition.requireMedium();
  } catch (error) {
    if (isCoded(error, 'NETWORK')) return plainText(503, `not ready: ${error.message}`);
    if (!isCoded(error, 'DISK')) throw error;
    return plainText(503, 'not ready: the medium or store cannot be read');
  }
  return plainText(200, 'ready');
}
