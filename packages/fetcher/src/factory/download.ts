/**
 * A file without a digest, from a server that may cut the line, redirect to storage and change the file meanwhile.
 * Its validator (a strong ETag, or the date) tells whether the rest still belongs to what is here.
 * Sources: RFC 9110 sections 13.1.5 (If-Range) and 14 (ranges). Threats T14, T37; faults F03, F06, F07.
 */
import type { Bytes } from '@omni-airgap/oci';
import { CodedError } from '@omni-airgap/oci/base';
import {
  backOff,
  errorFromResponse,
  type GateResponse,
  type HttpGate,
  isTransient,
  type RetryOptions,
  saysPage,
  TooSlow,
  unexpectedAnswer,
} from '@omni-airgap/oci/http';
import type { Layout } from '@omni-airgap/oci/layout';
import type { Descriptor } from '@omni-airgap/oci/model';
import type { DownloadJournal } from '@omni-airgap/store';
import { looked } from './pin.ts';

export interface DownloadContext {
  readonly gate: HttpGate;
  readonly layout: Layout;
  readonly journal: DownloadJournal;
  readonly retry: RetryOptions;
}

export interface DownloadJob {
  readonly url: string;
  /** Its name, which tells what it should be. */
  readonly file: string;
  readonly mediaType: string;
  /** Bytes, as a HEAD said. */
  readonly size: number;
  /** Told the bytes that need not be fetched again, and then those that come; fewer than none when it starts over. */
  readonly onBytes: (bytes: number) => void;
}

/** Attempts that bring no byte before it is given up. */
const defaultTries = 6;
/** How often the file may change while it is fetched. */
const maxChanges = 3;

/** The file is not the one whose first part is here; holds the answer that says so, when it can be used. */
class Changed extends CodedError {
  readonly response: GateResponse | undefined;

  constructor(url: string, response?: GateResponse) {
    // With this code the ingest throws away what it has.
    super('DIGEST_MISMATCH', `${url}: it changed upstream while it was being fetched; run fetch again`);
    this.response = response;
  }
}

/**
 * Brings the file into the layout.
 * @throws UPSTREAM when length and HEAD disagree, or it cannot be what its name says; NETWORK, NOT_FOUND, DENIED, DISK
 */
export async function download(context: DownloadContext, job: DownloadJob): Promise<Descriptor> {
  const { journal, layout, retry } = context;
  const { url, size, mediaType } = job;
  const before = await journal.read(url);
  let validator = before?.state === 'partial' && before.size === size ? before.validator : undefined;
  let first: GateResponse | undefined;
  let counted = 0;
  const onBytes = (bytes: number): void => {
    counted += bytes;
    job.onBytes(bytes);
  };
  for (let changes = 0, failures = 0; ; ) {
    try {
      if (validator === undefined) {
        first ??= await open(context, job, 0, undefined);
        validator = validatorOf(first);
        if (validator !== undefined) await journal.write(url, { state: 'partial', size, validator });
      }
      const body = new Body(context, { ...job, onBytes }, validator, first);
      const key = `${url} ${validator ?? ''} ${size}`;
      const checkpoints = validator === undefined ? undefined : journal.checkpointsOf(url);
      const options = { mediaType, key, maxSize: size, checkpoints };
      // Before the first byte is kept: what comes later has no digest to be judged by.
      const read = (offset = 0): Bytes =>
        offset > 0 ? body.read(offset) : looked(body.read(), job.file, size, url);
      return await layout.ingest(read, options, retry.signal);
    } catch (error) {
      if (error instanceof Changed) {
        if (changes++ === maxChanges) throw error;
        await journal.forget(url);
        first = error.response;
        validator = undefined;
      } else {
        // With a validator the body has resumed by itself; without one nothing but the whole file will do.
        if (validator !== undefined || !isTransient(error)) throw error;
        if (++failures === (retry.tries ?? defaultTries)) throw error;
        first = undefined;
        await backOff(error, failures, retry);
      }
      onBytes(-counted);
    }
  }
}

class Body {
  readonly #context: DownloadContext;
  readonly #job: DownloadJob;
  readonly #validator: string | undefined;
  #first: GateResponse | undefined;

  constructor(
    context: DownloadContext,
    job: DownloadJob,
    validator: string | undefined,
    first: GateResponse | undefined,
  ) {
    this.#context = context;
    this.#job = job;
    this.#validator = validator;
    this.#first = first;
  }

  /** From `offset` to the end; what breaks on the way resumes from there if there is a validator. */
  async *read(offset = 0): Bytes {
    const { size, url, onBytes } = this.#job;
    const { retry } = this.#context;
    let at = offset;
    if (offset > 0) onBytes(offset);
    for (let failures = 0; at < size; ) {
      const before = at;
      try {
        const response = await this.#openAt(at);
        for await (const chunk of response.body) {
          at += chunk.byteLength;
          if (at > size)
            throw new CodedError('DIGEST_MISMATCH', `${url}: more than the ${size} bytes announced`);
          onBytes(chunk.byteLength);
          yield chunk;
        }
        // A body whose end is the end of the connection may be cut without anyone noticing.
        if (at < size) throw new CodedError('NETWORK', `${url}: ended after ${at} of ${size} bytes`);
      } catch (error) {
        failures = at > before && !(error instanceof TooSlow) ? 1 : failures + 1;
        const isFinal = this.#validator === undefined || !isTransient(error);
        if (isFinal || failures >= (retry.tries ?? defaultTries)) throw error;
        await backOff(error, failures, retry);
      }
    }
  }

  async #openAt(at: number): Promise<GateResponse> {
    const first = this.#first;
    this.#first = undefined;
    if (at === 0) {
      const response = first ?? (await open(this.#context, this.#job, 0, undefined));
      if (validatorOf(response) === this.#validator) return response;
      throw new Changed(this.#job.url, response);
    }
    await first?.cancel();
    const response = await open(this.#context, this.#job, at, this.#validator);
    const { status, headers } = response;
    const { size, url } = this.#job;
    if (status === 200) throw new Changed(url, response);
    const etag = headers['etag'];
    const isSame = etag === undefined || !this.#validator?.startsWith('"') || etag === this.#validator;
    if (status === 206 && isSame && headers['content-range']?.trim() === `bytes ${at}-${size - 1}/${size}`) {
      return response;
    }
    await response.cancel();
    throw new Changed(url);
  }
}

/** The answer from byte `at` on: 200, 206 or 416. */
async function open(
  context: DownloadContext,
  job: DownloadJob,
  at: number,
  validator: string | undefined,
): Promise<GateResponse> {
  const { url, size } = job;
  const { signal } = context.retry;
  const response = await context.gate.request({
    peer: 'factory',
    method: 'GET',
    url,
    expectedBytes: size - at,
    headers: at === 0 ? {} : { range: `bytes=${at}-`, ...(validator ? { 'if-range': validator } : {}) },
    signal,
  });
  if (at > 0 && (response.status === 206 || response.status === 416)) return response;
  if (response.status !== 200) throw await errorFromResponse(response, 'get', new URL(url));
  if (saysPage(response)) {
    await response.cancel();
    throw unexpectedAnswer(response, url, 'a file of the Image Factory');
  }
  const length = lengthOf(response);
  if (length !== undefined && length !== size) {
    await response.cancel();
    throw new CodedError(
      'UPSTREAM',
      `${url}: HEAD says ${size} bytes and GET says ${length}; the file upstream is not whole, ask for it again later`,
    );
  }
  return response;
}

/** Content-Length in bytes, when it is a number. */
export function lengthOf(response: GateResponse): number | undefined {
  const text = response.headers['content-length'];
  return text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : undefined;
}

function validatorOf(response: GateResponse): string | undefined {
  const etag = response.headers['etag'];
  if (etag?.startsWith('"') === true) return etag;
  return response.headers['last-modified'];
}
