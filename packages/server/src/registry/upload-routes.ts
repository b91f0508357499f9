/**
 * The requests of a blob upload: begin, chunk, finish, status, cancel, single POST, mount.
 * Source: distribution-spec v1.1.1 spec.md#pushing-blobs (endpoints 4a, 4b, 5, 6, 11, 13, 14).
 */
import { isDigest } from '@omni-airgap/oci';
import type { Answer, Methods, Request } from '../http/message.ts';
import type { Blobs } from './blobs.ts';
import { refuse, registryHeaders } from './refusal.ts';
import type { Upload, Uploads } from './upload.ts';

const contentRangePattern = /^([0-9]{1,15})-([0-9]{1,15})$/;

/** Handlers for `/v2/<repository>/blobs/uploads/`. */
export function beginMethods(uploads: Uploads, blobs: Blobs, repository: string): Methods {
  return { POST: (request) => begin(uploads, blobs, repository, request) };
}

/** Handlers for `/v2/<repository>/blobs/uploads/<id>`. */
export function uploadMethods(uploads: Uploads, repository: string, id: string): Methods {
  const withUpload =
    (use: (upload: Upload, request: Request) => Promise<Answer>) =>
    async (request: Request): Promise<Answer> => {
      const upload = uploads.get(repository, id);
      if (upload === undefined) return refuse('BLOB_UPLOAD_UNKNOWN', 'no such upload, or it was given up');
      if (upload.isBusy) return refuse('BLOB_UPLOAD_INVALID', 'another request is using this upload', 409);
      try {
        return await upload.hold(() => use(upload, request));
      } catch (error) {
        if (upload.isBroken) uploads.close(upload);
        throw error;
      }
    };
  return {
    GET: withUpload(async (upload) => progress(upload, 204)),
    PATCH: withUpload(async (upload, request) => {
      const refused = await append(upload, request);
      return refused ?? progress(upload, 202);
    }),
    PUT: withUpload((upload, request) => finish(uploads, upload, request)),
    DELETE: withUpload(async (upload) => {
      uploads.close(upload);
      await upload.cancel();
      return { status: 204, headers: registryHeaders };
    }),
  };
}

async function begin(uploads: Uploads, blobs: Blobs, repository: string, request: Request): Promise<Answer> {
  const { query } = request;
  const mount = query.get('mount');
  if (mount !== null && isDigest(mount) && (await blobs.sizeOf(mount)) !== undefined) {
    return created(repository, mount);
  }
  const digest = query.get('digest');
  if (digest !== null && !isDigest(digest)) return badDigest(digest);
  const upload = uploads.start(repository);
  if (upload === undefined) return refuse('TOOMANYREQUESTS', 'too many uploads are open; finish some first');
  if (digest === null) return progress(upload, 202);
  try {
    return await finish(uploads, upload, request);
  } catch (error) {
    // The client does not know where the upload is, so nobody can go on with it.
    uploads.close(upload);
    await upload.cancel();
    throw error;
  }
}

async function finish(uploads: Uploads, upload: Upload, request: Request): Promise<Answer> {
  const digest = request.query.get('digest');
  if (digest === null || !isDigest(digest)) return badDigest(digest ?? '');
  const refused = await append(upload, request);
  if (refused !== undefined) return refused;
  uploads.close(upload);
  const descriptor = await upload.finish();
  if (descriptor.digest !== digest) {
    return refuse('DIGEST_INVALID', `the ${descriptor.size} bytes have ${descriptor.digest}, not ${digest}`);
  }
  return created(upload.repository, digest);
}

/** @returns a refusal when the chunk does not fit where the upload stands */
async function append(upload: Upload, request: Request): Promise<Answer | undefined> {
  const header = request.headers['content-range'];
  if (header !== undefined) {
    const [, first, last] = contentRangePattern.exec(header) ?? [];
    if (first === undefined || last === undefined) {
      return refuse('BLOB_UPLOAD_INVALID', `Content-Range must be <first>-<last>, not ${header}`);
    }
    if (Number(first) !== upload.offset) return progress(upload, 416);
    const size = Number(last) - Number(first) + 1;
    if (request.contentLength !== undefined && request.contentLength !== size) {
      return refuse(
        'SIZE_INVALID',
        `Content-Range has ${size} bytes, Content-Length ${request.contentLength}`,
      );
    }
  }
  await upload.append(request.body);
  return undefined;
}

function progress(upload: Upload, status: number): Answer {
  return {
    status,
    headers: {
      ...registryHeaders,
      Location: `/v2/${upload.repository}/blobs/uploads/${upload.id}`,
      // As every registry does, an empty upload says 0-0; the specification has no form for it.
      Range: `0-${Math.max(0, upload.offset - 1)}`,
      'Docker-Upload-UUID': upload.id,
    },
  };
}

function created(repository: string, digest: string): Answer {
  return {
    status: 201,
    headers: {
      ...registryHeaders,
      Location: `/v2/${repository}/blobs/${digest}`,
      'Docker-Content-Digest': digest,
    },
  };
}

function badDigest(digest: string): Answer {
  return refuse('DIGEST_INVALID', `digest=sha256:<64 lower-case hex> is needed, not ${digest}`);
}
