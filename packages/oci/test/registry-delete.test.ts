/** Deleting manifests: by digest, with their tags, and looked for afterwards. */
import { expect, test } from 'vitest';
import { image, startRegistry, withConfig } from './registry.ts';

const { descriptor, bytes } = image;

async function withImage() {
  const started = await startRegistry(withConfig);
  const repository = started.registry.repository('a/b');
  repository.addManifest(bytes, descriptor.mediaType, 'v1', 'latest');
  return { ...started, held: repository };
}

test('a manifest goes with its tags; one that is gone is no error', async () => {
  const { repository, held, steps } = await withImage();
  expect(await repository.delete(descriptor)).toBe(true);
  expect(held.tags.size).toBe(0);
  expect(await repository.delete(descriptor)).toBe(false);
  expect(steps()).toEqual(['DELETE manifests', 'HEAD manifests', 'DELETE manifests', 'HEAD manifests']);
});

test('a manifest that is still there is an error, whatever the registry answered', async () => {
  for (const [status, words] of [
    [202, 'says that it deleted the manifest, and still has it'],
    // As Amazon ECR did: containers-roadmap issue 1229.
    [404, 'has the manifest, and says that it does not'],
  ] as const) {
    const { repository, registry } = await withImage();
    registry.fault({ match: { method: 'DELETE', path: /./ }, do: { status } });
    await expect(repository.delete(descriptor)).rejects.toMatchObject({
      code: 'UPSTREAM',
      message: expect.stringContaining(words),
    });
  }
});

test('a registry that deletes nothing says how to switch it on; the probe shows it and deletes nothing', async () => {
  const { repository, registry, held } = await withImage();
  await repository.probeDelete();
  expect(held.manifests.size).toBe(1);
  const body = '{"errors":[{"code":"UNSUPPORTED","message":"The operation is unsupported."}]}';
  registry.fault({ match: { method: 'DELETE', path: /./ }, do: { status: 405, body } });
  const refusal = {
    code: 'UPSTREAM',
    status: 405,
    message: expect.stringContaining('storage.delete.enabled: true'),
  };
  await expect(repository.probeDelete()).rejects.toMatchObject(refusal);
  await expect(repository.delete(descriptor)).rejects.toMatchObject(refusal);
});

test('a connection that is lost with the answer: asked again, and the manifest is gone', async () => {
  const { repository, registry, held } = await withImage();
  registry.fault({ match: { method: 'DELETE', path: /./, nth: 1 }, do: { loseAnswer: true } });
  await repository.delete(descriptor);
  expect(held.manifests.size).toBe(0);
});
