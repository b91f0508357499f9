/**
 * Pulls as containerd does, without any of its code and without any of packages/: HEAD by tag, the rest by digest, three blobs
 * at a time, `?ns=` for the registry that it takes the mirror for, and a Range request where a body broke off.
 * Sources: containerd v1.7 remotes/docker/{resolver,fetcher,httpreadseeker}.go (maxRetry), docs/hosts.md (ns).
 */
import { createHash } from 'node:crypto';
import { Agent, type IncomingMessage, request } from 'node:http';

export interface Fetched {
  readonly digest: string;
  /** Bytes. */
  readonly size: number;
  /** How often it went on after a broken body. */
  readonly resumes: number;
}

export interface PullOptions {
  /** The registry that the client believes to talk to, such as `ghcr.io`. */
  readonly ns: string;
  /** Awaited in the middle of each body of more than a mebibyte. */
  readonly inBody?: () => Promise<void>;
}

interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
  readonly platform?: { readonly architecture: string };
}

const accept = [
  'application/vnd.docker.distribution.manifest.v2+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.oci.image.index.v1+json',
  '*/*',
].join(', ');
const mebibyte = 1024 * 1024;
const maxResumes = 3;
const maxRedirects = 10;
const blobsAtOnce = 3;

/** @returns everything that was fetched by digest @throws Error for what a node would report as a failed pull */
export async function pullImage(
  base: string,
  repository: string,
  tag: string,
  options: PullOptions,
): Promise<readonly Fetched[]> {
  const client = new Client();
  try {
    const at = (kind: string, name: string): string =>
      `${base}/v2/${repository}/${kind}/${name}?ns=${options.ns}`;
    const head = await client.send('HEAD', at('manifests', tag), { accept });
    head.resume();
    const digest = head.headers['docker-content-digest'];
    if (head.statusCode !== 200 || typeof digest !== 'string')
      throw new Error(`HEAD ${tag}: ${head.statusCode}`);
    const fetched: Fetched[] = [];
    const get = async (kind: 'manifests' | 'blobs', of: string, size?: number): Promise<Buffer> => {
      const chunks: Buffer[] = [];
      const keep = kind === 'manifests' ? (chunk: Buffer) => void chunks.push(chunk) : () => undefined;
      fetched.push(await client.fetch(at(kind, of), of, size, keep, options.inBody));
      return Buffer.concat(chunks);
    };
    let manifest = JSON.parse((await get('manifests', digest)).toString());
    const children: readonly Descriptor[] = manifest.manifests ?? [];
    const own = children.find(({ platform }) => platform?.architecture === 'amd64');
    if (own !== undefined) manifest = JSON.parse((await get('manifests', own.digest, own.size)).toString());
    const queue: Descriptor[] = [manifest.config, ...manifest.layers];
    const line = async (): Promise<void> => {
      for (let next = queue.shift(); next !== undefined; next = queue.shift())
        await get('blobs', next.digest, next.size);
    };
    await Promise.all(Array.from({ length: blobsAtOnce }, line));
    return fetched;
  } finally {
    client.close();
  }
}

/** Downloads one file as a boot loader that resumes: curl, or Omni's clients. @throws as pullImage */
export async function download(
  url: string,
  digest: string,
  size: number,
  inBody?: PullOptions['inBody'],
): Promise<Fetched> {
  const client = new Client();
  try {
    return await client.fetch(url, digest, size, () => undefined, inBody);
  } finally {
    client.close();
  }
}

/** With connections of its own, as each node has them. */
class Client {
  readonly #agent = new Agent({ keepAlive: true });

  /** Follows redirects. @throws when there is no answer */
  async send(
    method: string,
    url: string,
    headers: Readonly<Record<string, string>>,
  ): Promise<IncomingMessage> {
    let at = url;
    for (let i = 0; i <= maxRedirects; i++) {
      const answer = await new Promise<IncomingMessage>((resolve, reject) => {
        request(at, { method, headers, agent: this.#agent }, resolve).on('error', reject).end();
      });
      const { location } = answer.headers;
      if (![301, 302, 303, 307, 308].includes(answer.statusCode ?? 0) || location === undefined)
        return answer;
      answer.resume();
      at = new URL(location, at).href;
    }
    throw new Error(`${url}: more than ${maxRedirects} redirects`);
  }

  async fetch(
    url: string,
    digest: string,
    size: number | undefined,
    onChunk: (chunk: Buffer) => void,
    inBody: PullOptions['inBody'],
  ): Promise<Fetched> {
    const hash = createHash('sha256');
    let got = 0;
    let hasWaited = false;
    for (let resumes = 0; ; resumes++) {
      const range = got === 0 ? {} : { range: `bytes=${got}-` };
      const answer = await this.send('GET', url, { accept, ...range });
      if (answer.statusCode !== (got === 0 ? 200 : 206)) {
        answer.resume();
        throw new Error(`GET ${url} from byte ${got}: ${answer.statusCode}`);
      }
      const expected = got + Number(answer.headers['content-length']);
      try {
        for await (const chunk of answer as AsyncIterable<Buffer>) {
          hash.update(chunk);
          got += chunk.byteLength;
          onChunk(chunk);
          if (hasWaited || inBody === undefined || expected <= mebibyte) continue;
          hasWaited = true;
          await inBody();
        }
        if (got < expected) throw new Error('the body is short');
      } catch (error) {
        if (resumes === maxResumes) throw error;
        continue;
      }
      const found = `sha256:${hash.digest('hex')}`;
      if (found !== digest || (size !== undefined && got !== size))
        throw new Error(`${url}: ${got} bytes of ${found} in place of ${digest}`);
      return { digest, size: got, resumes };
    }
  }

  close(): void {
    this.#agent.destroy();
  }
}
