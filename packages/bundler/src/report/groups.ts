/** Items of the report page by repository, or by what repositories have in common when there are many. */
import { byText } from '@omni-airgap/oci/base';
import { compareVersions, isVersion } from '@omni-airgap/talos';
import { repositoryIn, tagOf } from './names.ts';
import type { SummaryItem } from './summary.ts';

/** Items of one repository, or of several that begin alike. */
export interface ItemGroup {
  /** A repository; or what they begin with, and a slash. */
  readonly title: string;
  /** In the order of their names and versions. */
  readonly items: readonly SummaryItem[];
  /** Number of repositories. */
  readonly repositories: number;
}

/** By repository, in the order of their names. */
export function byRepository(items: readonly SummaryItem[]): readonly ItemGroup[] {
  const groups = new Map<string, SummaryItem[]>();
  for (const item of items) {
    const title = repositoryIn(item.name);
    groups.set(title, [...(groups.get(title) ?? []), item]);
  }
  return inOrder([...groups].map(([title, members]) => ({ title, items: members, repositories: 1 })));
}

/**
 * By repository; while that are too many groups, those of the folder with the most become one.
 * @param most groups; more than that only when there are more registries
 */
export function bySimilarRepository(items: readonly SummaryItem[], most: number): readonly ItemGroup[] {
  let groups = byRepository(items);
  while (groups.length > most) {
    const folders = new Map<string, readonly ItemGroup[]>();
    for (const group of groups) {
      const folder = folderOf(group.title);
      if (folder !== undefined) folders.set(folder, [...(folders.get(folder) ?? []), group]);
    }
    const [largest] = [...folders].sort(
      ([a, x], [b, y]) => y.length - x.length || b.split('/').length - a.split('/').length || byText(a, b),
    );
    if (largest === undefined) break;
    const [title, members] = largest;
    const joined = {
      title,
      items: members.flatMap((group) => group.items),
      repositories: members.reduce((sum, { repositories }) => sum + repositories, 0),
    };
    groups = inOrder([...groups.filter((group) => !members.includes(group)), joined]);
  }
  return groups;
}

/** `ghcr.io/a/` for `ghcr.io/a/b` and for `ghcr.io/a/b/`; undefined for a registry. */
function folderOf(title: string): string | undefined {
  const end = title.replace(/\/$/, '').lastIndexOf('/');
  return end < 0 ? undefined : title.slice(0, end + 1);
}

function inOrder(groups: readonly ItemGroup[]): readonly ItemGroup[] {
  return [...groups]
    .sort((a, b) => byText(a.title, b.title))
    .map((group) => ({ ...group, items: [...group.items].sort(byVersion) }));
}

function byVersion(a: SummaryItem, b: SummaryItem): number {
  const [x, y] = [tagOf(a.name), tagOf(b.name)];
  const order =
    repositoryIn(a.name) === repositoryIn(b.name) && isVersion(x) && isVersion(y)
      ? compareVersions(x, y)
      : byNumbers(a.name, b.name);
  return order === 0 ? byText(a.name, b.name) : order;
}

/** Runs of digits by their number: `3.9` before `3.10`. */
function byNumbers(a: string, b: string): number {
  const [left, right] = [a, b].map((text) => text.split(/([0-9]{1,15})/));
  for (const [i, part] of (left ?? []).entries()) {
    const other = right?.[i];
    if (other === undefined) return 1;
    if (part === other) continue;
    // Parts with an odd index are digits.
    return i % 2 === 1 ? Number(part) - Number(other) || byText(part, other) : byText(part, other);
  }
  return (left?.length ?? 0) - (right?.length ?? 0);
}
