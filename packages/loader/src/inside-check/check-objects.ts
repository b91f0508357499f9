/** Whether an object store does what load needs: its preflight, and an upload in parts that is read back. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ObjectSink } from '@omni-airgap/objects';
import { checkFinished, descriptorOf, Hasher } from '@omni-airgap/oci/model';
import { type Finding, finding } from './finding.ts';

const subject = 'object store';
const contentType = 'text/plain';
const key = 'omni-airgap-probe';

/** The least that a store takes as a part that is not the last. Source: Amazon S3 User Guide. */
export const probePartSize: number = 5 * 1024 * 1024;

/** @param folder for a file of a few megabytes; the sink must send what is above probePartSize in parts */
export async function checkObjectsInside(
  sink: ObjectSink,
  folder: string,
  signal?: AbortSignal,
): Promise<readonly Finding[]> {
  const findings: Finding[] = [];
  const preflight = await finding(subject, 'write', async () => {
    const steps = await sink.preflight(true, signal);
    findings.push(...steps.map(({ what, state, detail }) => ({ subject, what, state, detail })));
    return '';
  });
  // One that threw: there was no answer at all.
  if (preflight.state === 'failed') return [preflight];
  if (findings.some(({ state }) => state === 'failed')) return findings;
  findings.push(
    await finding(subject, 'large object', async () => {
      await putLarge(sink, join(folder, 'probe'), signal);
      return 'more than one part, stored and read back';
    }),
  );
  return findings;
}

/** Stores and reads back, also when a probe before left the same. */
async function putLarge(sink: ObjectSink, path: string, signal?: AbortSignal): Promise<void> {
  const bytes = Buffer.alloc(probePartSize + 1024, 'omni-airgap ');
  const descriptor = descriptorOf(contentType, bytes);
  await writeFile(path, bytes);
  const content = { kind: 'pieces', pieces: [{ path, offset: 0, size: bytes.byteLength }] } as const;
  await sink.remove(key, signal).catch(() => {});
  await sink.put({ key, descriptor, contentType, content }, () => {}, signal);
  const hasher = new Hasher();
  for await (const chunk of sink.get(key, signal)) hasher.update(chunk);
  checkFinished(hasher, descriptor, `${sink.url}/${key}`);
  // That it may not be deleted was found above.
  await sink.remove(key, signal).catch(() => {});
}
