/**
 * The Image Factory on loopback, with the storage it redirects to: schematics by ID, files that are built when they
 * are first asked for. What it does wrong is data: a rule answers instead of it.
 */
import { createHash } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { type LoopbackServer, readBody, startHttpServer } from '@omni-airgap/oci/testing';
import { schematicFrom } from '@omni-airgap/talos';

export const factoryHost = 'factory.talos.dev';
export const storageHost = 'bucket.0123.r2.cloudflarestorage.com';

/** What to do with requests for a path, instead of or besides the usual. */
interface Rule {
  readonly path: RegExp;
  readonly method?: string;
  /** How often; default always. */
  times?: number;
  /** Answers by itself; true when it has. */
  readonly answer?: (request: IncomingMessage, response: ServerResponse, file: Buffer) => void;
  /** Bytes of the body after which the connection is torn. */
  readonly cutAfter?: number;
  readonly delayMs?: number;
}

export interface FactoryDouble {
  readonly factory: LoopbackServer;
  readonly storage: LoopbackServer;
  /** Files by path below the factory, such as `image/<id>/v1.13.9/kernel-amd64`; change them at will. */
  readonly files: Map<string, Buffer>;
  /** Canonical texts by ID. */
  readonly schematics: Map<string, string>;
  readonly rules: Rule[];
  /** ETag of a file; by default its hash, undefined for none. */
  etagOf: (path: string) => string | undefined;
  /** Body bytes that the storage has sent. */
  sent(): number;
  close(): Promise<void>;
}

export async function startFactoryDouble(): Promise<FactoryDouble> {
  const files = new Map<string, Buffer>();
  const schematics = new Map<string, string>();
  const rules: Rule[] = [];
  let sent = 0;
  const ruleFor = (request: IncomingMessage): Rule | undefined => {
    const rule = rules.find(
      (one) =>
        one.times !== 0 &&
        one.path.test(request.url ?? '') &&
        (one.method ?? request.method) === request.method,
    );
    if (rule?.times !== undefined) rule.times--;
    return rule;
  };
  const pathOf = (request: IncomingMessage): string =>
    new URL(request.url ?? '', 'http://localhost').pathname.slice(1);
  const text = (response: ServerResponse, status: number, body: string, type = 'text/plain'): void => {
    response.writeHead(status, { 'content-type': type, 'content-length': Buffer.byteLength(body) });
    response.end(response.req.method === 'HEAD' ? undefined : body);
  };

  const answerFactory = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const path = pathOf(request);
    const rule = ruleFor(request);
    if (rule?.delayMs !== undefined) await sleep(rule.delayMs);
    if (rule?.answer !== undefined) return rule.answer(request, response, files.get(path) ?? Buffer.alloc(0));
    if (request.method === 'POST' && path === 'schematics') {
      const { id, canonical } = schematicFrom(await readBody(request));
      schematics.set(id, canonical);
      return text(response, 201, JSON.stringify({ id, schematic: canonical }), 'application/json');
    }
    const known = /^schematics\/([a-f0-9]{64})$/.exec(path)?.[1];
    if (known !== undefined) {
      const canonical = schematics.get(known);
      return canonical === undefined
        ? text(response, 404, 'not found\n')
        : text(response, 200, canonical, 'application/yaml');
    }
    if (/\.(?:sha256|sha512|sigstore\.json)$/.test(path))
      return text(response, 402, 'enterprise not enabled\n');
    const file = files.get(path);
    if (file === undefined) return text(response, 404, '404 page not found\n');
    if (request.method === 'HEAD' || !path.startsWith('image/')) {
      response.writeHead(200, { 'content-length': file.byteLength });
      response.end(request.method === 'HEAD' ? undefined : file);
      return;
    }
    response.writeHead(302, {
      location: `https://${storageHost}/${path}?X-Amz-Signature=abc`,
      'content-length': 0,
    });
    response.end();
  };
  const answerStorage = (request: IncomingMessage, response: ServerResponse): void => {
    const path = pathOf(request);
    const rule = ruleFor(request);
    const file = files.get(path) ?? Buffer.alloc(0);
    if (rule?.answer !== undefined) {
      rule.answer(request, response, file);
      return;
    }
    const etag = double.etagOf(path);
    const first = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
    const isSame = request.headers['if-range'] === undefined || request.headers['if-range'] === etag;
    const start = isSame ? first : 0;
    const body = file.subarray(start);
    response.writeHead(start > 0 ? 206 : 200, {
      'content-length': body.byteLength,
      ...(etag === undefined ? {} : { etag }),
      ...(start > 0 ? { 'content-range': `bytes ${start}-${file.byteLength - 1}/${file.byteLength}` } : {}),
    });
    const cut = rule?.cutAfter;
    if (cut === undefined) {
      sent += body.byteLength;
      response.end(body);
      return;
    }
    sent += Math.min(cut, body.byteLength);
    response.write(body.subarray(0, cut), () => setTimeout(() => response.destroy(), 20));
  };
  const factory = await startHttpServer((request, response) => {
    void answerFactory(request, response).catch(() => response.destroy());
  });
  const storage = await startHttpServer(answerStorage);
  const double: FactoryDouble = {
    factory,
    storage,
    files,
    schematics,
    rules,
    etagOf: (path) =>
      `"${createHash('md5')
        .update(files.get(path) ?? '')
        .digest('hex')}"`,
    sent: () => sent,
    close: async () => {
      await factory.close();
      await storage.close();
    },
  };
  return double;
}
