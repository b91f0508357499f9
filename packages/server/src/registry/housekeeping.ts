/**
 * Housekeeping of a registry that takes pushes: the sweep of `omni-airgap gc`, while clients push and pull. It runs from
 * time to time, one at a time, and only after something has changed. Requests wait for no more than the removal of a file
 * that they ask for.
 */
import { messageOf } from '@omni-airgap/oci/base';
import { type Activity, defaultGraceMs, parsePushedName, type Swept, sweep } from '@omni-airgap/oci/layout';
import type { Descriptor } from '@omni-airgap/oci/model';
import type { Integrity } from '../integrity.ts';
import type { ContentSource, WritableSource } from '../source.ts';
import type { Catalog } from './catalog.ts';
import type { Claims } from './claims.ts';
import type { Uploads } from './uploads.ts';

export interface HousekeepingOptions {
  /** Milliseconds for which content stays that no manifest names; default a day. */
  readonly graceMs?: number | undefined;
  /** Milliseconds after which manifests go when they have no tag any more; default never. */
  readonly deleteUntaggedAfterMs?: number | undefined;
  /** Told what a sweep has removed, if anything. */
  readonly onSwept?: ((swept: Swept) => void) | undefined;
  /** Told why a sweep was given up; the next one tries again. */
  readonly onProblem?: ((message: string) => void) | undefined;
}

export interface HousekeepingContext {
  readonly target: WritableSource;
  /** All that is served: what is removed from `target` may be in another part of it. */
  readonly source: ContentSource;
  readonly catalog: Catalog;
  readonly integrity: Integrity;
  readonly claims: Claims;
  readonly uploads: Uploads;
}

const longestPauseMs = 3_600_000;
const shortestPauseMs = 60_000;

export class Housekeeping {
  readonly #context: HousekeepingContext;
  readonly #options: HousekeepingOptions;
  readonly #graceMs: number;
  readonly #timer: NodeJS.Timeout;
  readonly #end = new AbortController();
  #running: Promise<unknown> = Promise.resolve();
  /** Of the claims, when the last sweep left nothing to wait for. */
  #settled: number | undefined;

  constructor(context: HousekeepingContext, options: HousekeepingOptions) {
    this.#context = context;
    this.#options = options;
    this.#graceMs = options.graceMs ?? defaultGraceMs;
    const pauseMs = Math.min(longestPauseMs, Math.max(shortestPauseMs, this.#graceMs));
    this.#timer = setInterval(() => void this.#run(), pauseMs);
    this.#timer.unref();
  }

  /** Removes what is due now. One after the other. @throws as the sweep of a layout */
  sweep(): Promise<Swept> {
    const next = this.#running.then(() => this.#sweep());
    this.#running = next.catch(() => {});
    return next;
  }

  /** Ends the sweep under way, between two removals. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    this.#end.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { claims } = this.#context;
    const { deleteUntaggedAfterMs, onProblem } = this.#options;
    // Age alone makes untagged manifests go.
    if (deleteUntaggedAfterMs === undefined && this.#settled === claims.count) return;
    try {
      await this.sweep();
    } catch (error) {
      if (!this.#end.signal.aborted) onProblem?.(messageOf(error));
    }
  }

  async #sweep(): Promise<Swept> {
    const { target, claims, uploads } = this.#context;
    const { deleteUntaggedAfterMs, onSwept } = this.#options;
    const before = claims.count;
    claims.refresh(uploads.repositories);
    const roots = new Map<string, Descriptor>();
    for await (const [name, descriptor] of target.names()) roots.set(name, descriptor);
    const swept = await sweep(target, {
      roots,
      graceMs: this.#graceMs,
      deleteUntaggedAfterMs,
      activity: this.#activity(),
      signal: this.#end.signal,
    });
    this.#settled = swept.waiting.blobs === 0 ? before : undefined;
    if (swept.blobs > 0 || swept.untagged.length > 0) onSwept?.(swept);
    return swept;
  }

  #activity(): Activity {
    const { source, catalog, integrity, claims } = this.#context;
    return {
      isInUse: (digest) => claims.isInUse(digest),
      removing: (digest, remove) =>
        claims.removing(digest, async () => {
          await remove();
          // The same may have been carried.
          if ((await source.stat(digest)) !== undefined) return;
          catalog.graph.forget(digest);
          integrity.forget(digest);
        }),
      untagged: (names) => {
        const repositoryOf = (name: string): string => parsePushedName(name)?.repository ?? '';
        for (const [repository, gone] of Map.groupBy(names, repositoryOf)) catalog.remove(repository, gone);
      },
    };
  }
}
