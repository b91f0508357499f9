/**
 * The public Image Factory, as a client: schematics and media files. It may build for minutes before it answers,
 * redirects media to object storage, and words its errors as plain text.
 * Source: siderolabs/image-factory docs/api.md.
 */
import {
  type Bytes,
  CodedError,
  collect,
  digestFromHex,
  digestOf,
  errorFromResponse,
  type GateResponse,
  type HttpGate,
  type Layout,
  type LockedFile,
  retrying,
} from '@omni-airgap/content';
import { contentTypeOf } from '@omni-airgap/talos';

/** A first build of a disk image has been seen to take minutes. */
const buildTimeoutMs = 15 * 60_000;
const maxSchematicBytes = 1024 * 1024;
/** No Talos medium comes near; a sender that goes on is stopped. */
const maxMediaBytes = 64 * 1024 ** 3;

export class FactoryClient {
  readonly #gate: HttpGate;
  readonly #base: string;
  readonly #signal: AbortSignal | undefined;

  /** @param host such as factory.talos.dev */
  constructor(gate: HttpGate, host: string, signal?: AbortSignal) {
    this.#gate = gate;
    this.#base = `https://${host}`;
    this.#signal = signal;
  }

  /**
   * Makes a schematic known to the factory.
   * @param canonical canonical YAML
   * @param id its ID as computed here
   * @throws DIGEST_MISMATCH when the factory knows it by another ID or another text
   */
  async createSchematic(canonical: string, id: string): Promise<void> {
    await this.#retrying(async () => {
      const response = await this.#gate.request({
        method: 'POST',
        url: `${this.#base}/schematics`,
        headers: { 'content-type': 'application/yaml', accept: 'application/json' },
        body: Buffer.from(canonical),
        ...this.#withSignal(),
      });
      if (response.status !== 201 && response.status !== 200) {
        throw await errorFromResponse(response, `schematic ${id}`, response.url);
      }
      const answer = await response.json(`the factory's answer about schematic ${id}`, maxSchematicBytes * 2);
      if (answer['id'] !== id) {
        throw new CodedError(
          'DIGEST_MISMATCH',
          `schematic ${id}: the factory calls it ${String(answer['id']).slice(0, 80)}; both must agree, so nothing was fetched for it`,
        );
      }
      const text = answer['schematic'];
      if (typeof text === 'string' && digestOf(Buffer.from(text)) !== digestFromHex(id)) {
        throw new CodedError(
          'DIGEST_MISMATCH',
          `schematic ${id}: the factory's canonical text has another digest`,
        );
      }
    });
  }

  /** The canonical text of a schematic the factory knows. @throws NOT_FOUND, DIGEST_MISMATCH */
  async schematic(id: string): Promise<Uint8Array> {
    return this.#retrying(async () => {
      const response = await this.#get(`/schematics/${id}`);
      if (response.status !== 200) throw await errorFromResponse(response, `schematic ${id}`, response.url);
      const bytes = await collect(response.body, maxSchematicBytes, `schematic ${id}`);
      if (digestOf(bytes) !== digestFromHex(id)) {
        throw new CodedError('DIGEST_MISMATCH', `schematic ${id}: the factory's text has another digest`);
      }
      return bytes;
    });
  }

  /**
   * Brings one media file into the layout. A download that breaks goes on at its last byte, in this run or a later
   * one, as long as the factory still offers the same file.
   * @param onBytes called with the number of bytes that came
   */
  async fetchMedia(
    layout: Layout,
    media: { readonly schematic: string; readonly version: string; readonly file: string },
    onBytes: (bytes: number) => void,
  ): Promise<LockedFile> {
    const { schematic, version, file } = media;
    const path = `/image/${schematic}/${version}/${file}`;
    return this.#retrying(async () => {
      const first = await this.#get(path);
      if (first.status !== 200) throw await errorFromResponse(first, file, first.url);
      const size = lengthOf(first);
      if (size === 0) {
        await first.cancel();
        throw new CodedError('UPSTREAM', `${path}: the factory offers an empty file; ask it again later`);
      }
      const validator = validatorOf(first);
      // The validator is part of the key: a file that was changed upstream never continues an older one.
      const key =
        validator === undefined ? `${path} ${crypto.randomUUID()}` : `${path} ${validator} ${size ?? ''}`;
      const open = (offset = 0): Bytes =>
        counted(this.#mediaBytes(first, path, size, validator, offset), onBytes);
      const options = { mediaType: contentTypeOf(file), key, maxSize: size ?? maxMediaBytes };
      const descriptor = await layout.ingest(open, options, this.#signal);
      if (descriptor.size === 0) throw new CodedError('UPSTREAM', `${path}: the factory sent an empty file`);
      return {
        name: file,
        digest: descriptor.digest,
        size: descriptor.size,
        source: `${this.#base}${path}`,
        fetchedAt: new Date().toISOString(),
      };
    });
  }

  async *#mediaBytes(
    first: GateResponse,
    path: string,
    size: number | undefined,
    validator: string | undefined,
    offset: number,
  ): Bytes {
    let got = offset;
    let response = first;
    if (offset > 0) {
      await first.cancel();
      if (offset === size) return;
      response = await this.#get(path, {
        range: `bytes=${offset}-`,
        ...(validator ? { 'if-range': validator } : {}),
      });
      const range = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(response.headers['content-range'] ?? '');
      if (response.status !== 206 || Number(range?.[1]) !== offset) {
        await response.cancel();
        throw new CodedError('NETWORK', `${path}: could not be continued at byte ${offset}`);
      }
    }
    for await (const chunk of response.body) {
      got += chunk.byteLength;
      yield chunk;
    }
    if (size !== undefined && got !== size) {
      throw new CodedError('NETWORK', `${path}: ended after ${got} of ${size} bytes`);
    }
  }

  #get(path: string, headers: Readonly<Record<string, string>> = {}): Promise<GateResponse> {
    return this.#gate.request({
      method: 'GET',
      url: `${this.#base}${path}`,
      headers,
      headersTimeoutMs: buildTimeoutMs,
      ...this.#withSignal(),
    });
  }

  #withSignal(): { readonly signal?: AbortSignal } {
    return this.#signal === undefined ? {} : { signal: this.#signal };
  }

  #retrying<T>(run: () => Promise<T>): Promise<T> {
    return retrying(run, this.#withSignal());
  }
}

function lengthOf(response: GateResponse): number | undefined {
  const text = response.headers['content-length'];
  return text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : undefined;
}

/** A strong ETag, or else the date: what If-Range takes. Source: RFC 9110 section 13.1.5. */
function validatorOf(response: GateResponse): string | undefined {
  const etag = response.headers['etag'];
  if (etag?.startsWith('"') === true) return etag;
  return response.headers['last-modified'];
}

async function* counted(bytes: Bytes, onBytes: (bytes: number) => void): Bytes {
  for await (const chunk of bytes) {
    onBytes(chunk.byteLength);
    yield chunk;
  }
}
