/** Whether an object store does what load needs: write, read, delete, parts, and the check of what was signed for. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { NewObject, ObjectSink } from '@omni-airgap/objects';
import { checkFinished, type Descriptor, descriptorOf, Hasher } from '@omni-airgap/oci/model';
import { type Finding, finding } from './finding.ts';

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
  const check = async (
    what: string,
    run: () => Promise<string | { readonly note: string }>,
  ): Promise<boolean> => {
    const found = await finding('object store', what, run);
    findings.push(found);
    return found.state !== 'failed';
  };
  const writes = await check('write and read', async () => {
    const bytes = Buffer.from('omni-airgap was here\n');
    await putAnew(sink, descriptorOf(contentType, bytes), { kind: 'bytes', bytes }, signal);
    return sink.url;
  });
  if (!writes) return findings;
  if (sink.checksPayload !== undefined) {
    await check('upload in parts', async () => {
      const path = join(folder, 'probe');
      const bytes = Buffer.alloc(probePartSize + 1024, 'omni-airgap ');
      await writeFile(path, bytes);
      const pieces = [{ path, offset: 0, size: bytes.byteLength }];
      await putAnew(sink, descriptorOf(contentType, bytes), { kind: 'pieces', pieces }, signal);
      return 'two parts joined and read back';
    });
    await check('wrong bytes', async () =>
      (await sink.checksPayload?.(signal)) === true
        ? 'refused by the hash in the signature'
        : {
            note: 'not noticed by the hash in the signature: load sends Content-MD5 as well, and reads everything back',
          },
    );
  }
  await check('delete', async () => {
    await sink.remove(key, signal);
    return 'allowed';
  });
  return findings;
}

/** Stores and reads back, also when a probe before left the same. */
async function putAnew(
  sink: ObjectSink,
  descriptor: Descriptor,
  content: NewObject['content'],
  signal?: AbortSignal,
): Promise<void> {
  await sink.remove(key, signal);
  await sink.put({ key, descriptor, contentType, content }, () => {}, signal);
  const hasher = new Hasher();
  for await (const chunk of sink.get(key, signal)) hasher.update(chunk);
  checkFinished(hasher, descriptor, `${sink.url}/${key}`);
}
