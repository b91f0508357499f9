/**
 * What a bucket refuses, found with a few bytes before gigabytes move: each kind of request that a load makes is made
 * once, and a refusal names the right that is missing.
 * Source: Amazon S3 User Guide, "Required permissions for Amazon S3 API operations".
 */
import { createHash } from 'node:crypto';
import {
  AbortMultipartUploadCommand,
  CopyObjectCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  type ListMultipartUploadsCommandOutput,
  ListPartsCommand,
  PutObjectCommand,
} from '@aws-sdk/client-s3';
import { CodedError, isCoded } from '@omni-airgap/oci/base';
import { type ProbeStep, probeKey } from './object-sink.ts';
import { abort, type S3Connection, withPayload } from './s3-connection.ts';

/** Without s3:ListBucket a store answers 403, not 404, to a HEAD of an object that does not exist. */
export const lookRights = 's3:GetObject and s3:ListBucket';
export const copyRights = 's3:GetObject and s3:PutObject';

const body = Buffer.from('omni-airgap looks whether this bucket takes what load stores\n');
const otherBody = Buffer.from('these bytes are not the ones that were signed for\n');

interface BucketProbe {
  readonly steps: readonly ProbeStep[];
  /** Whether bodies need a Content-MD5; undefined when nothing could be written. */
  readonly md5: boolean | undefined;
}

/** @throws NETWORK, ABORTED; refusals are steps */
export async function probeBucket(
  connection: S3Connection,
  copies: boolean,
  signal?: AbortSignal,
): Promise<BucketProbe> {
  const { client } = connection;
  const key = probeKey();
  const [copyKey, absentKey] = [`${key}-copy`, `${key}-absent`];
  const steps: ProbeStep[] = [];
  /** @param without what load does when it is refused; undefined when it cannot do without */
  const step = async (
    what: string,
    without: string | undefined,
    run: () => Promise<string>,
  ): Promise<boolean> => {
    try {
      steps.push({ what, state: 'ok', detail: await run() });
      return true;
    } catch (error) {
      if (!isCoded(error, 'DENIED', 'UPSTREAM', 'NOT_FOUND', 'DIGEST_MISMATCH')) throw error;
      const { message } = error;
      if (without === undefined) steps.push({ what, state: 'failed', detail: message, error });
      else steps.push({ what, state: 'note', detail: `${message}; ${without}` });
      return false;
    }
  };

  let md5: boolean | undefined;
  const writes = await step('write', undefined, async () => {
    md5 = await putProbe(connection, key, signal);
    return connection.url;
  });
  if (!writes) return { steps, md5 };
  await step('look up', undefined, async () => {
    await connection.retrying(key, 's3:GetObject', signal, () =>
      client.send(new HeadObjectCommand(connection.at(key)), abort(signal)),
    );
    return 'HEAD shows what was written';
  });
  await step('look up a missing object', undefined, async () => {
    await requireAbsent(connection, absentKey, signal);
    return 'HEAD answers 404';
  });
  await step('read', undefined, async () => {
    const { Body: read } = await connection.retrying(key, 's3:GetObject', signal, () =>
      client.send(new GetObjectCommand(connection.at(key)), abort(signal)),
    );
    if (body.equals((await read?.transformToByteArray()) ?? Buffer.alloc(0))) return 'as written';
    throw new CodedError('DIGEST_MISMATCH', `${connection.url}/${key}: other bytes than were written`);
  });
  // Under a key of its own: Adobe's S3Mock 5.2 removes an object when an upload of its key is aborted.
  await probeParts(connection, `${key}-parts`, step, signal);
  const notListed = 'load does not report unfinished uploads of earlier loads';
  await step('list unfinished uploads', notListed, async () => {
    await listUploads(connection, signal);
    return 'allowed';
  });
  const copied = await step(
    'copy',
    copies ? undefined : 'increments copy objects, full bundles do not',
    async () => {
      const { Bucket, Key } = connection.at(key);
      const input = { ...connection.at(copyKey), CopySource: `${Bucket}/${Key}` };
      await connection.retrying(copyKey, copyRights, signal, () =>
        client.send(new CopyObjectCommand(input), abort(signal)),
      );
      return 'allowed';
    },
  );
  const refuses = await isWrongPayloadRefused(connection, key, md5 === true, signal);
  steps.push(
    refuses
      ? { what: 'wrong bytes', state: 'ok', detail: 'refused by the hash in the signature' }
      : {
          what: 'wrong bytes',
          state: 'note',
          detail: 'not noticed by the hash in the signature; load sends Content-MD5 as well',
        },
  );
  await step('delete', `load leaves its probe ${key} behind, and objects with wrong bytes`, async () => {
    for (const one of copied ? [copyKey, key] : [key]) {
      await connection.retrying(one, 's3:DeleteObject', signal, () =>
        client.send(new DeleteObjectCommand(connection.at(one)), abort(signal)),
      );
    }
    return 'allowed';
  });
  return { steps, md5: md5 === true || !refuses };
}

/** Whether bodies need a Content-MD5: the store asks for it, or does not check the hash that was signed. */
export async function probePayload(connection: S3Connection, signal?: AbortSignal): Promise<boolean> {
  const key = probeKey();
  const md5 = await putProbe(connection, key, signal);
  const refuses = await isWrongPayloadRefused(connection, key, md5, signal);
  // The probe has told what it was made for; who may not delete has a few bytes more.
  await connection.client.send(new DeleteObjectCommand(connection.at(key)), abort(signal)).catch(() => {});
  return md5 || !refuses;
}

export function listUploads(
  connection: S3Connection,
  signal?: AbortSignal,
): Promise<ListMultipartUploadsCommandOutput> {
  const input = { Bucket: connection.bucket, Prefix: connection.prefix };
  return connection.retrying('', 's3:ListBucketMultipartUploads', signal, () =>
    connection.client.send(new ListMultipartUploadsCommand(input), abort(signal)),
  );
}

/** @returns whether the store asks for a Content-MD5, as under a default retention */
async function putProbe(connection: S3Connection, key: string, signal?: AbortSignal): Promise<boolean> {
  try {
    await put(connection, key, body, sha256Of(body), false, signal);
    return false;
  } catch (error) {
    if (!asksForMd5(error)) throw error;
    await put(connection, key, body, sha256Of(body), true, signal);
    return true;
  }
}

/** A store that checks the payload refuses this; one that takes the payload's own hash, as a wrong signature. */
async function isWrongPayloadRefused(
  connection: S3Connection,
  key: string,
  md5: boolean,
  signal?: AbortSignal,
): Promise<boolean> {
  try {
    await put(connection, key, otherBody, sha256Of(body), md5, signal);
    return false;
  } catch (error) {
    const status = isCoded(error, 'UPSTREAM', 'DENIED') ? error.status : undefined;
    if (status === undefined || status >= 500) throw error;
    return true;
  }
}

async function put(
  connection: S3Connection,
  key: string,
  bytes: Uint8Array,
  sha256: string,
  md5: boolean,
  signal?: AbortSignal,
): Promise<void> {
  const input = {
    ...connection.at(key),
    ...(md5 ? { ContentMD5: createHash('md5').update(bytes).digest('base64') } : {}),
  };
  await connection.retrying(key, 's3:PutObject', signal, () =>
    connection.client.send(new PutObjectCommand(withPayload(input, bytes, sha256)), abort(signal)),
  );
}

async function requireAbsent(connection: S3Connection, key: string, signal?: AbortSignal): Promise<void> {
  try {
    await connection.retrying(key, 's3:ListBucket', signal, () =>
      connection.client.send(new HeadObjectCommand(connection.at(key)), abort(signal)),
    );
  } catch (error) {
    if (isCoded(error, 'NOT_FOUND')) return;
    throw error;
  }
  throw new CodedError(
    'UPSTREAM',
    `${connection.url}/${key}: the object store shows an object that was never stored`,
  );
}

async function probeParts(
  connection: S3Connection,
  key: string,
  step: (what: string, without: string | undefined, run: () => Promise<string>) => Promise<boolean>,
  signal?: AbortSignal,
): Promise<void> {
  const { client } = connection;
  let uploadId: string | undefined;
  const begun = await step('begin an upload in parts', undefined, async () => {
    const created = await connection.retrying(key, 's3:PutObject', signal, () =>
      client.send(new CreateMultipartUploadCommand(connection.at(key)), abort(signal)),
    );
    uploadId = created.UploadId;
    if (uploadId !== undefined) return 'allowed';
    throw new CodedError('UPSTREAM', `${connection.url}/${key}: an upload was begun without an ID`);
  });
  if (!begun) return;
  const upload = { ...connection.at(key), UploadId: uploadId };
  await step('list parts', 'an upload that broke off begins again', async () => {
    await connection.retrying(key, 's3:ListMultipartUploadParts', signal, () =>
      client.send(new ListPartsCommand(upload), abort(signal)),
    );
    return 'allowed';
  });
  await step('abort an upload', 'unfinished uploads stay and take space', async () => {
    await connection.retrying(key, 's3:AbortMultipartUpload', signal, () =>
      client.send(new AbortMultipartUploadCommand(upload), abort(signal)),
    );
    return 'allowed';
  });
}

function sha256Of(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** Source: Amazon S3 User Guide, "Managing Object Lock": uploads under a retention need a Content-MD5 or a checksum. */
function asksForMd5(error: unknown): boolean {
  return isCoded(error) && error.status === 400 && /content-md5|checksum/i.test(error.message);
}
