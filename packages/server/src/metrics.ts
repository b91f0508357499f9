/**
 * What a monitoring system asks this server, in the text format of Prometheus, on a port of its own. Labels are words of
 * this file and status codes alone: a path, a name or the address of a client would make a series for each, without bound,
 * and tell them to whoever reads metrics.
 * Source: Prometheus docs, "Metric and label naming", "Exposition formats".
 */
import { statfs } from 'node:fs/promises';
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import type { Access } from './access/access.ts';
import type { Provenance } from './bundles.ts';
import { failed, plainText } from './factory/answer.ts';
import type { Condition } from './health.ts';
import type { RouteGroup } from './http/message.ts';
import type { AccessEntry } from './http/server.ts';
import type { Uploads } from './registry/uploads.ts';
import type { UpstreamCount, UpstreamCounts } from './replica/upstream-counts.ts';
import type { Wishes } from './wishes/wishes.ts';

export interface MetricsOptions {
  /** Folder whose file system is watched; left out, none is. */
  readonly folder?: string | undefined;
}

export interface MetricsContext {
  readonly condition: Condition;
  readonly wishes: Wishes;
  readonly uploads: Uploads | undefined;
  readonly access: Access | undefined;
  /** Of a replica. */
  readonly upstream?: UpstreamCounts | undefined;
  readonly provenance: readonly Provenance[];
}

/** Seconds: from a small answer to a disk image on a slow line. */
const buckets = [0.005, 0.025, 0.1, 0.5, 2.5, 10, 60, 600];

export class Metrics {
  readonly #registry = new Registry();
  readonly #requests: Counter<'route' | 'status'>;
  readonly #durations: Histogram<'route'>;
  readonly #sent: Counter<'route'>;
  readonly #received: Counter<'route'>;

  constructor(context: MetricsContext, { folder }: MetricsOptions) {
    const registers = [this.#registry];
    this.#requests = new Counter({
      name: 'omni_airgap_requests_total',
      help: 'Requests that were answered.',
      labelNames: ['route', 'status'],
      registers,
    });
    this.#durations = new Histogram({
      name: 'omni_airgap_request_duration_seconds',
      help: 'Time from a request to the end of its answer.',
      labelNames: ['route'],
      buckets,
      registers,
    });
    this.#sent = new Counter({
      name: 'omni_airgap_sent_bytes_total',
      help: 'Bytes of answers, with their headers.',
      labelNames: ['route'],
      registers,
    });
    this.#received = new Counter({
      name: 'omni_airgap_received_bytes_total',
      help: 'Bytes of requests, with their headers.',
      labelNames: ['route'],
      registers,
    });
    this.#contentMetrics(context);
    this.#workMetrics(context);
    if (context.upstream !== undefined) this.#upstreamMetrics(context.upstream);
    if (folder !== undefined) this.#diskMetrics(folder);
    collectDefaultMetrics({ register: this.#registry });
  }

  request({ route, status, bytes, received, ms }: AccessEntry): void {
    this.#requests.inc({ route, status });
    this.#durations.observe({ route }, ms / 1000);
    this.#sent.inc({ route }, bytes);
    this.#received.inc({ route }, received);
  }

  /** `/metrics` */
  routes(): RouteGroup {
    return {
      match: ([path, ...more]) =>
        path === 'metrics' && more.length === 0
          ? {
              GET: async () => ({
                status: 200,
                headers: { 'Content-Type': this.#registry.contentType, 'Cache-Control': 'no-store' },
                body: await this.#registry.metrics(),
              }),
            }
          : undefined,
      routeOf: () => 'metrics',
      methodNotAllowed: () => plainText(405, 'Method Not Allowed'),
      failed,
    };
  }

  #contentMetrics({ condition, provenance }: MetricsContext): void {
    const { files } = condition;
    if (files !== undefined) {
      this.#counter(
        'omni_airgap_content_reads_total',
        'Answers with content from files: verified before (cached), by this answer (hashed), by another one (awaited), or not yet, as a part of the content (unverified).',
        'verification',
        () => files.reads,
      );
      this.#gauge(
        'omni_airgap_verified_contents',
        'Contents that need no verification while their files stay the same.',
        () => files.verified,
      );
    }
    this.#counter(
      'omni_airgap_verifications_total',
      'Contents that were hashed, by result.',
      'result',
      () => condition.verifications,
    );
    this.#gauge(
      'omni_airgap_damaged_contents',
      'Contents that were found damaged or missing.',
      () => condition.damage().length,
    );
    const created = provenance.map(({ createdAt }) => Date.parse(createdAt) / 1000);
    if (created.length > 0) {
      this.#gauge('omni_airgap_bundle_created_timestamp_seconds', 'When the newest bundle was made.', () =>
        Math.max(...created),
      );
    }
  }

  #workMetrics({ wishes, uploads, access }: MetricsContext): void {
    this.#gauge(
      'omni_airgap_wishes',
      'Different contents that were requested and are missing.',
      () => wishes.counts.size,
    );
    this.#gauge(
      'omni_airgap_wishes_dropped',
      'Different wishes that found no room on the list.',
      () => wishes.counts.dropped,
    );
    if (uploads !== undefined)
      this.#gauge('omni_airgap_uploads_open', 'Uploads that are open.', () => uploads.open);
    if (access !== undefined) {
      this.#counter(
        'omni_airgap_log_ins_total',
        'Passwords that were sent, by result.',
        'result',
        () => access.logIns,
      );
    }
  }

  #upstreamMetrics(upstream: UpstreamCounts): void {
    const labelNames = ['target', 'status'] as const;
    const registers = [this.#registry];
    const counter = (name: string, help: string, value: (count: UpstreamCount) => number): void => {
      new Counter({
        ...{ name, help, labelNames, registers },
        collect(): void {
          this.reset();
          for (const count of upstream.counts()) {
            this.inc({ target: count.target, status: count.status }, value(count));
          }
        },
      });
    };
    counter(
      'omni_airgap_upstream_requests_total',
      'Requests to the registry and the object store behind this server; status none: no answer.',
      ({ requests }) => requests,
    );
    counter(
      'omni_airgap_upstream_bytes_total',
      'Bytes of bodies to and from the registry and the object store behind this server.',
      ({ bytes }) => bytes,
    );
  }

  #diskMetrics(folder: string): void {
    const size = this.#gauge(
      'omni_airgap_disk_size_bytes',
      'Size of the file system of the folder that takes pushes.',
    );
    this.#gauge(
      'omni_airgap_disk_available_bytes',
      'Space on that file system that this server can use.',
      async () => {
        // A folder that is gone has no size, and the other metrics are there all the same.
        const { bavail, blocks, bsize } = await statfs(folder).catch(() => ({
          bavail: 0,
          blocks: 0,
          bsize: 0,
        }));
        size.set(blocks * bsize);
        return bavail * bsize;
      },
    );
  }

  /** @param value of now; left out, whoever has the gauge sets it */
  #gauge(name: string, help: string, value?: () => number | Promise<number>): Gauge {
    return new Gauge({
      name,
      help,
      registers: [this.#registry],
      ...(value === undefined
        ? {}
        : {
            async collect(): Promise<void> {
              this.set(await value());
            },
          }),
    });
  }

  /** @param counts so far, by the value of the label */
  #counter(name: string, help: string, label: string, counts: () => Readonly<Record<string, number>>): void {
    new Counter({
      name,
      help,
      labelNames: [label],
      registers: [this.#registry],
      collect(): void {
        this.reset();
        for (const [value, count] of Object.entries(counts())) this.inc({ [label]: value }, count);
      },
    });
  }
}
