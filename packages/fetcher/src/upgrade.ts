/**
 * The way from what a site has to what a mirror.yaml carries: minor releases that an upgrade would skip, the versions to add,
 * and what the site has that is carried no more.
 */
import {
  leavingVersions,
  type ProductVersions,
  productsToUpgrade,
  publicFactoryHost,
  type UpgradePath,
  type UpgradeStep,
  upgradeOrder,
  upgradePaths,
  versionsOf,
} from '@omni-airgap/talos';
import { mediaSetName } from './factory/media.ts';
import { type AddedVersions, withVersions, writeVersions } from './mirror/added-versions.ts';
import {
  type ChoosingOptions,
  type ChosenVersions,
  chooseVersions,
  usableOf,
  withChosen,
} from './mirror/chosen-versions.ts';
import type { WrittenMirror } from './mirror/mirror.ts';
import { type ResolvedMirror, resolveMirror } from './mirror/resolved-mirror.ts';
import { UpstreamLists } from './mirror/upstream-lists.ts';
import { kubernetesList, omniList, talosList } from './mirror/version-range.ts';

export interface PlannedUpgrade {
  /** Of products with a newer minor release than the site's oldest. */
  readonly paths: readonly UpgradePath[];
  /** Steps of several paths, in an order that keeps to versions that fit each other; left out where there is none. */
  readonly order?: readonly UpgradeStep[];
  /** Versions inside that are carried no more. */
  readonly leaving: readonly ProductVersions[];
  /** Whether the versions to add were written into mirror.yaml. */
  readonly written: boolean;
}

const lists: ReadonlyMap<string, string> = new Map([
  ['Omni', omniList],
  ['Talos', talosList],
  ['Kubernetes', kubernetesList],
]);

interface UpgradeOptions {
  /** Path of mirror.yaml. */
  readonly config: string;
  /** Names that the site has; undefined where no upgrade is asked about. */
  readonly siteNames: readonly string[] | undefined;
  /** Write the versions to add into mirror.yaml. */
  readonly write: boolean;
}

/**
 * Chooses the versions of a mirror.yaml, and looks for the way to them. What is written into mirror.yaml is chosen too.
 * @throws as chooseVersions, UpstreamLists.versions and writeVersions
 */
export async function chooseUpgrade(
  written: WrittenMirror,
  choosing: ChoosingOptions,
  { config, siteNames, write }: UpgradeOptions,
): Promise<ChosenVersions & { readonly upgrade?: PlannedUpgrade }> {
  const chosen = await chooseVersions(written, choosing);
  if (siteNames === undefined) return chosen;
  const there = versionsOf(siteNames);
  const carried = carriedBy(resolveMirror(chosen.mirror));
  const products = productsToUpgrade(there, carried);
  const offered = products.length === 0 ? new Map() : await offeredFor(products, written, choosing);
  const paths = upgradePaths(there, carried, offered);
  const order = upgradeOrder(paths, there);
  const upgrade = {
    paths,
    ...(order === undefined ? {} : { order }),
    leaving: leavingVersions(there, carried),
  };
  if (!write || paths.every(({ add }) => add.length === 0)) {
    return { ...chosen, upgrade: { ...upgrade, written: false } };
  }
  const added: AddedVersions = Object.fromEntries(paths.map(({ product, add }) => [product, add]));
  await writeVersions(config, added);
  const mirror = withChosen(withVersions(written, added), chosen.ranges);
  return { ...chosen, mirror, upgrade: { ...upgrade, written: true } };
}

/** What upstream lists of each product, and can be carried. */
function offeredFor(
  products: readonly string[],
  written: WrittenMirror,
  { network, scope }: ChoosingOptions,
): Promise<ReadonlyMap<string, readonly string[]>> {
  const listOf = (product: string): string => lists.get(product) ?? '';
  return UpstreamLists.use(products.map(listOf), network, scope, async (upstream) => {
    const offered = products.map(async (product) => {
      const list = listOf(product);
      return [product, usableOf(list, await upstream.versions(list), written)] as const;
    });
    return new Map(await Promise.all(offered));
  });
}

function carriedBy({ images, builds }: ResolvedMirror): readonly ProductVersions[] {
  return versionsOf([
    ...images.map(({ reference }) => reference),
    ...builds.flatMap(({ schematic: { id }, media, installers }) => [
      ...media.map(({ version }) => mediaSetName(id, version)),
      ...installers.map(({ repository, version }) => `${publicFactoryHost}/${repository}/${id}:${version}`),
    ]),
  ]);
}
