/** Blobs that a sibling repository has, or is getting, are mounted from it. */
import { setImmediate as turn } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { CodedError } from '../src/base/errors.ts';
import { Copier } from '../src/copy.ts';
import { type Descriptor, descriptorOf, plain } from '../src/model/descriptor.ts';
import type { Mounter, OpenBytes, PushResult } from '../src/storage.ts';
import { MemoryStore } from '../src/testing/memory-store.ts';
import { expectWhole, layerType, putImage, Recorder } from './copy-stores.ts';

/** A registry of repositories that share blobs only by mounting. */
class Sibling extends Recorder implements Mounter {
  readonly registry = 'registry.test';
  readonly path: string;
  readonly mounted: string[] = [];
  readonly #siblings: Map<string, Sibling>;
  readonly #mounts: boolean;

  constructor(path: string, siblings: Map<string, Sibling>, mounts = true) {
    super();
    this.path = path;
    this.#siblings = siblings;
    this.#mounts = mounts;
    siblings.set(path, this);
  }

  async mount(descriptor: Descriptor, from: string): Promise<boolean> {
    const sibling = this.#siblings.get(from);
    if (!this.#mounts || sibling === undefined || !(await sibling.has(descriptor))) return false;
    await super.push(plain(descriptor), () => sibling.fetch(descriptor));
    this.mounted.push(`${from} ${descriptor.digest}`);
    return true;
  }
}

const layer = descriptorOf(layerType, Buffer.from('shared'));

test('a sibling repository that is getting the blob spares sending it again', async () => {
  const source = new Recorder();
  const root = await putImage(source, 'shared');
  const siblings = new Map<string, Sibling>();
  const targets = ['a', 'b', 'c'].map((path) => new Sibling(path, siblings));
  const copier = new Copier();
  await Promise.all(targets.map((target) => copier.copy(source, target, root)));
  for (const target of targets) await expectWhole(target, root);
  const blobReads = source.fetched.filter((digest) => digest !== root.digest);
  expect(blobReads).toHaveLength(2);
  expect(targets.map((target) => target.mounted.length)).toEqual([0, 2, 2]);
});

test('a refused mount is a push', async () => {
  const source = new MemoryStore();
  const root = await putImage(source, 'shared');
  const siblings = new Map<string, Sibling>();
  const targets = ['a', 'b'].map((path) => new Sibling(path, siblings, false));
  const copier = new Copier();
  for (const target of targets) await copier.copy(source, target, root);
  for (const target of targets) await expectWhole(target, root);
});

test('when the first push fails, another repository pushes and later ones mount from that', async () => {
  const source = new MemoryStore();
  const root = await putImage(source, 'shared');
  const siblings = new Map<string, Sibling>();
  class Failing extends Sibling {
    override async push(descriptor: Descriptor, open: OpenBytes): Promise<PushResult> {
      if (descriptor.digest === layer.digest) {
        await turn();
        throw new CodedError('DENIED', 'no push rights here');
      }
      return super.push(descriptor, open);
    }
  }
  const [a, b, c] = [new Failing('a', siblings), new Sibling('b', siblings), new Sibling('c', siblings)];
  const copier = new Copier();
  const [first] = await Promise.allSettled([copier.copy(source, a, root), copier.copy(source, b, root)]);
  expect(first).toMatchObject({ status: 'rejected', reason: { code: 'DENIED' } });
  await copier.copy(source, c, root);
  await expectWhole(b, root);
  await expectWhole(c, root);
  expect(c.mounted).toContain(`b ${layer.digest}`);
});
