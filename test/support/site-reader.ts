/**
 * What a site has got, read as its own clients would: by plain HTTP, all bytes hashed, without any code of packages/.
 */
import { createHash } from 'node:crypto';
import { type S3Key, signedFetch } from '../services/signed-fetch.ts';

export interface WhatWasRead {
  /** Manifests and blobs, or objects. */
  readonly contents: number;
  /** What is missing, and what has other bytes, each in a few words; empty when all is well. */
  readonly wrong: readonly string[];
}

interface Manifest {
  readonly config?: Pointer;
  readonly layers?: readonly Pointer[];
  readonly manifests?: readonly Pointer[];
}

interface Pointer {
  readonly digest: string;
}

const manifestTypes = [
  'application/vnd.oci.image.index.v1+json',
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
  'application/vnd.docker.distribution.manifest.v2+json',
].join(', ');

/**
 * Pulls images with all their platforms, configs and layers.
 * @param base `http://HOST/v2`, with the prefix that the images lie below
 * @param images names as they were outside, each with the digest that its tag must have
 */
export async function pullAll(
  base: string,
  images: readonly { readonly name: string; readonly digest: string }[],
): Promise<WhatWasRead> {
  const wrong: string[] = [];
  const read = new Set<string>();
  const pull = async (path: string, digest: string): Promise<Buffer | undefined> => {
    const answer = await fetch(`${base}/${path}`, { headers: { Accept: manifestTypes } });
    const bytes = Buffer.from(await answer.arrayBuffer());
    const found = answer.ok ? sha256(bytes) : `answers ${answer.status}`;
    if (found === digest) return bytes;
    wrong.push(`${path}: ${found} in place of ${digest}`);
    return undefined;
  };
  const visit = async (repository: string, reference: string, digest: string): Promise<void> => {
    const bytes = await pull(`${repository}/manifests/${reference}`, digest);
    read.add(`${repository}@${digest}`);
    if (bytes === undefined) return;
    const { config, layers = [], manifests = [] } = JSON.parse(bytes.toString()) as Manifest;
    for (const child of manifests) {
      if (!read.has(`${repository}@${child.digest}`)) await visit(repository, child.digest, child.digest);
    }
    for (const blob of config === undefined ? layers : [config, ...layers]) {
      if (read.has(`${repository}@${blob.digest}`)) continue;
      read.add(`${repository}@${blob.digest}`);
      await pull(`${repository}/blobs/${blob.digest}`, blob.digest);
    }
  };
  for (const { name, digest } of images) {
    const [, repository = '', tag = digest] = /^[^/]+\/([^:@]+)(?::([^:@]+))?(?:@.*)?$/.exec(name) ?? [];
    await visit(repository, tag, digest);
  }
  return { contents: read.size, wrong };
}

/** @param bucket `http://HOST/BUCKET[/PREFIX]` */
export async function readObjects(
  bucket: string,
  key: S3Key,
  files: readonly { readonly key: string; readonly digest: string; readonly size: number }[],
): Promise<WhatWasRead> {
  const wrong: string[] = [];
  for (const file of files) {
    const answer = await signedFetch(new URL(`${bucket}/${file.key}`), key);
    const hash = createHash('sha256');
    let size = 0;
    for await (const chunk of answer.body ?? []) {
      hash.update(chunk);
      size += chunk.byteLength;
    }
    const found = answer.ok ? `${size} bytes of sha256:${hash.digest('hex')}` : `answers ${answer.status}`;
    const wanted = `${file.size} bytes of ${file.digest}`;
    if (found !== wanted) wrong.push(`${file.key}: ${found} in place of ${wanted}`);
  }
  return { contents: files.length, wrong };
}

function sha256(bytes: Uint8Array): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}
