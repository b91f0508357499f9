/**
 * The object store before anything moves, to the registry either: what it refuses is found, and how much load reads back
 * before it begins is told.
 */
import type { ObjectSink } from '@omni-airgap/objects';
import type { Progress } from '@omni-airgap/oci';
import { CodedError, formatBytes } from '@omni-airgap/oci/base';
import type { LoadSource } from '../../source.ts';
import { wantedObjects } from '../from-base.ts';
import type { PlannedObject } from './object-plan.ts';

interface PreflightContext {
  readonly source: LoadSource;
  readonly sink: ObjectSink;
  readonly planned: readonly PlannedObject[];
  readonly progress: Progress;
  readonly signal: AbortSignal | undefined;
}

/**
 * Finds what the object store refuses before anything moves, to the registry either.
 * @throws DENIED, NOT_FOUND, UPSTREAM, DISK naming all that was refused; NETWORK
 */
export async function preflightStore({
  source,
  sink,
  planned,
  progress,
  signal,
}: PreflightContext): Promise<void> {
  await sink.requireRoom?.(planned.map(({ key, descriptor }) => ({ key, size: descriptor.size })));
  const copies = source.documents.some((document) => (document.relies?.objects ?? []).length > 0);
  const steps = await sink.preflight(copies, signal);
  const errors = steps.flatMap(({ what, error }) => (error === undefined ? [] : [{ what, error }]));
  const [first] = errors;
  if (first !== undefined) {
    const { code, status } = first.error;
    const list = errors.map(({ what, error }) => `${what}: ${error.message}`).join('; ');
    throw new CodedError(code, `${list}; nothing was loaded`, { cause: first.error, status });
  }
  for (const { what, state, detail } of steps) {
    if (state === 'note') progress.note(`${sink.url}: ${what}: ${detail}`);
  }
}

/** Tells what is read from the object store before existing objects count, before that takes its time. @throws as the store */
export async function noteReadBacks(
  { source, sink, planned, progress, signal }: PreflightContext,
  verify: 'full' | 'quick' | undefined,
): Promise<void> {
  const objects = (await sink.unproven?.(wantedObjects(source, planned), signal)) ?? [];
  if (objects.length === 0) return;
  const bytes = objects.reduce((sum, { descriptor }) => sum + descriptor.size, 0);
  const which = `${sink.url}: load reads ${objects.length} existing object(s) back (${formatBytes(bytes)})`;
  progress.note(
    verify === 'full'
      ? `${which}, as --verify full asks`
      : `${which}: this host has no record of having read them; --verify quick skips this`,
  );
}
