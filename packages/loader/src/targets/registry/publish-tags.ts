/**
 * Names for content that is in place: a tag is united with what is there where it grows, and read back. Faults F42, F48.
 */

import { CodedError, isCoded, messageOf, settleAll } from '@omni-airgap/oci/base';
import { type Descriptor, openerOf } from '@omni-airgap/oci/model';
import { TagRefused } from '@omni-airgap/oci/registry';
import pLimit from 'p-limit';
import type { RegistryContext } from './context.ts';
import { isGrowOnly, unite } from './grow-only.ts';
import { conflictError, isConflict, type TargetState } from './target-state.ts';

export interface LoadedImage {
  readonly name: string;
  /** Where it is now. */
  readonly target: string;
  readonly digest: Descriptor['digest'];
}

/** Names tagged at once; each is two or three small requests. */
const tagsAtOnce = 16;
/** Times that a tag is united anew because somebody else wrote it in between. */
const maxRounds = 5;

/** Gives content its names. @throws CONFLICT, DIGEST_MISMATCH, and as pushes */
export function publishNames(
  context: RegistryContext,
  names: readonly TargetState[],
  overwriteTags: boolean,
): Promise<readonly LoadedImage[]> {
  const limit = pLimit(tagsAtOnce);
  return settleAll(
    names.map((name) =>
      limit(() => {
        context.signal?.throwIfAborted();
        return publish(context, name, overwriteTags);
      }),
    ),
  );
}

async function publish(
  context: RegistryContext,
  name: TargetState,
  overwriteTags: boolean,
): Promise<LoadedImage> {
  const { descriptor, repository, tag } = name;
  const at = `${context.target.host}/${repository}`;
  if (tag === undefined) {
    const found = await context.repository(repository).resolve(descriptor.digest, context.signal);
    if (found === undefined) {
      throw new CodedError(
        'UPSTREAM',
        `${at}@${descriptor.digest}: pushed, but the registry does not have it`,
      );
    }
    return { name: name.name, target: `${at}@${descriptor.digest}`, digest: descriptor.digest };
  }
  try {
    return {
      name: name.name,
      target: `${at}:${tag}`,
      digest: await setTag(context, name, tag, overwriteTags),
    };
  } catch (error) {
    throw explainTag(context, error, `${at}:${tag}`);
  }
}

/** Lets the tag stand for the content, united with what is there where tags grow. Answers what it stands for. */
async function setTag(
  context: RegistryContext,
  name: TargetState,
  tag: string,
  overwriteTags: boolean,
): Promise<Descriptor['digest']> {
  const { source, signal } = context;
  const { descriptor } = name;
  if (name.there?.digest === descriptor.digest) return descriptor.digest;
  const repository = context.repository(name.repository);
  for (let round = 1; ; round++) {
    // Somebody else may have written it since the survey.
    const there = await repository.resolve(tag, signal);
    if (there?.digest === descriptor.digest) return descriptor.digest;
    if (isConflict({ ...name, there }) && !overwriteTags) throw conflictError(context, [{ ...name, there }]);
    let wanted = descriptor;
    if (there !== undefined && isGrowOnly(name)) {
      const united = await unite(descriptor, source, there, repository, signal);
      if (united === 'contained') return there.digest;
      if (united !== 'different') {
        for (const blob of united.blobs) {
          await repository.push(blob.descriptor, openerOf(blob.bytes), signal);
        }
        await repository.push(united.descriptor, openerOf(united.bytes), signal);
        wanted = united.descriptor;
      }
    }
    try {
      await repository.tag(wanted, tag, signal);
      return wanted.digest;
    } catch (error) {
      // Read back, the tag was another one's: with what that one wrote, it is united again.
      const raced = isCoded(error, 'DIGEST_MISMATCH') && isGrowOnly(name);
      if (!raced || round >= maxRounds) throw error;
    }
  }
}

/** Only of the tag itself: what reading back it says is about something else. */
function explainTag({ client }: RegistryContext, error: unknown, at: string): unknown {
  if (!(error instanceof TagRefused)) return error;
  const remedy = client.remedyFor('tag', error);
  return new CodedError(
    error.code,
    `${at}: the content is there, but the registry does not take the tag; ${remedy === undefined ? '' : `${remedy} `}(${messageOf(error)})`,
    { cause: error, status: error.status },
  );
}
