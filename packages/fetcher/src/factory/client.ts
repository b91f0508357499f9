/**
 * The public Image Factory, as a client: schematics, media files, lists. It may build for minutes before it answers,
 * redirects media to object storage, and words its errors as plain text.
 * Source: siderolabs/image-factory docs/api.md. Threats T51, T52; faults F20, F22.
 */

import { CodedError, printable } from '@omni-airgap/oci/base';
import {
  errorFromResponse,
  type GateResponse,
  type HttpGate,
  looksLikePage,
  type RetryOptions,
  retrying,
  saysPage,
  unexpectedAnswer,
} from '@omni-airgap/oci/http';
import type { Layout } from '@omni-airgap/oci/layout';
import { type Descriptor, digestFromHex, digestOf, isHex64 } from '@omni-airgap/oci/model';
import type { DownloadJournal } from '@omni-airgap/store';
import {
  commonSchematicId,
  contentTypeOf,
  type IdentifiedSchematic,
  maxSchematicBytes,
  schematicPath,
} from '@omni-airgap/talos';
import { download, lengthOf } from './download.ts';

export interface FactoryOptions {
  readonly gate: HttpGate;
  /** Such as factory.talos.dev. */
  readonly host: string;
  readonly signal?: AbortSignal | undefined;
  readonly retry?: Pick<RetryOptions, 'onRetry' | 'sleep'>;
}

/** A schematic as the factory knows it: the bytes have its ID as their hash. */
export interface KnownSchematic {
  readonly id: string;
  readonly bytes: Uint8Array;
}

export class FactoryClient {
  /** Such as `https://factory.talos.dev`. */
  readonly base: string;
  readonly #options: FactoryOptions;

  constructor(options: FactoryOptions) {
    this.#options = options;
    this.base = `https://${options.host}`;
  }

  /**
   * Makes a schematic known to the factory. Its releases spell some texts differently, so text and ID are the factory's,
   * once they are found to be of the schematic that was sent.
   * @throws DIGEST_MISMATCH when the factory answers with another schematic, or an ID that is not the hash of its text
   */
  async createSchematic({ id, canonical }: Omit<IdentifiedSchematic, 'schematic'>): Promise<KnownSchematic> {
    const answer = await this.#retrying(async () => {
      const response = await this.#options.gate.request({
        peer: 'factory',
        method: 'POST',
        url: `${this.base}/schematics`,
        headers: { 'content-type': 'application/yaml', accept: 'application/json' },
        body: Buffer.from(canonical),
        signal: this.#options.signal,
      });
      if (response.status !== 201 && response.status !== 200) {
        throw await errorFromResponse(response, `schematic ${id}`);
      }
      return response.json(`the factory's answer about schematic ${id}`, maxSchematicBytes * 2);
    });
    const { id: given, schematic: text = given === id ? canonical : undefined } = answer;
    const another = new CodedError(
      'DIGEST_MISMATCH',
      `schematic ${id}: the factory answers with another one, ${printable(String(given), 80)}, so nothing was fetched for it`,
    );
    if (typeof given !== 'string' || !isHex64(given)) throw another;
    // Older factories answer with the ID alone.
    const bytes = typeof text === 'string' ? Buffer.from(text) : (await this.schematic(given)).bytes;
    checkSchematic(bytes, given);
    if (given !== id && commonSchematicId(bytes) !== id) throw another;
    return { id: given, bytes };
  }

  /** The text of a schematic the factory knows. @throws NOT_FOUND, DIGEST_MISMATCH */
  async schematic(id: string): Promise<KnownSchematic> {
    const bytes = await this.get(schematicPath(id), maxSchematicBytes);
    checkSchematic(bytes, id);
    return { id, bytes };
  }

  /** A small answer, whole. @param path below the factory's URL @param max bytes @throws NOT_FOUND, UPSTREAM… */
  async get(path: string, max: number): Promise<Uint8Array> {
    return this.#retrying(async () => {
      const response = await this.#request('GET', path);
      if (response.status !== 200) throw await errorFromResponse(response, path);
      const bytes = await response.bytes(path, max);
      if (!saysPage(response) && !looksLikePage(bytes)) return bytes;
      throw unexpectedAnswer(response, path, 'an answer of the Image Factory', { bytes });
    });
  }

  /** Like get; undefined when the factory does not have it (404) or its edition does not offer it (402). */
  async getOffered(path: string, max: number): Promise<Uint8Array | undefined> {
    return unlessStatus([402, 404], () => this.get(path, max));
  }

  /**
   * Like get, for what stands beside a file that is there. Not offered: 402 where the edition has it not, 404 and 400 from
   * releases that know no such names.
   */
  async sidecar(path: string, max: number): Promise<Uint8Array | undefined> {
    return unlessStatus([400, 402, 404], () => this.get(path, max));
  }

  /**
   * Bytes of a file, which has then been built. A refusal has no words in the answer to HEAD, so GET is asked for them.
   * @throws UPSTREAM when it is empty or no length is given, NOT_FOUND
   */
  async sizeOf(path: string): Promise<number> {
    return this.#retrying(async () => {
      const response = await this.#request('HEAD', path);
      await response.cancel();
      if (response.status !== 200) throw await this.#refusal(path, response);
      if (saysPage(response)) throw unexpectedAnswer(response, path, 'a file of the Image Factory');
      const size = lengthOf(response);
      if (size !== undefined && size > 0) return size;
      throw new CodedError(
        'UPSTREAM',
        `${this.base}/${path}: the factory ${size === 0 ? 'offers an empty file' : 'gives no length'}; ask it again later`,
      );
    });
  }

  /** Brings a file into the layout. @param size bytes, from sizeOf @throws as download */
  async fetch(
    layout: Layout,
    journal: DownloadJournal,
    file: { readonly path: string; readonly size: number },
    onBytes: (bytes: number) => void,
  ): Promise<Descriptor> {
    const { gate, signal, retry = {} } = this.#options;
    const context = {
      gate,
      layout,
      journal,
      retry: { ...retry, signal },
    };
    const { path, size } = file;
    const job = { url: `${this.base}/${path}`, file: path.slice(path.lastIndexOf('/') + 1), size };
    return download(context, { ...job, mediaType: contentTypeOf(path), onBytes });
  }

  #request(method: 'GET' | 'HEAD', path: string): Promise<GateResponse> {
    const url = `${this.base}/${path}`;
    return this.#options.gate.request({
      peer: 'factory',
      method,
      url,
      signal: this.#options.signal,
    });
  }

  async #refusal(path: string, head: GateResponse): Promise<CodedError> {
    const response = await this.#request('GET', path);
    if (response.status === head.status) return errorFromResponse(response, path);
    await response.cancel();
    return errorFromResponse(head, path);
  }

  #retrying<T>(run: () => Promise<T>): Promise<T> {
    return retrying(run, { ...this.#options.retry, signal: this.#options.signal });
  }
}

async function unlessStatus<T>(statuses: readonly number[], run: () => Promise<T>): Promise<T | undefined> {
  try {
    return await run();
  } catch (error) {
    const status = error instanceof CodedError ? error.status : undefined;
    if (status !== undefined && statuses.includes(status)) return undefined;
    throw error;
  }
}

function checkSchematic(bytes: Uint8Array, id: string): void {
  if (isHex64(id) && digestOf(bytes) === digestFromHex(id)) return;
  throw new CodedError('DIGEST_MISMATCH', `schematic ${id}: the factory's text has another digest`);
}
