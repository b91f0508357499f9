/**
 * What later bundles have withdrawn: a bundle that would keep a name does not keep it then. In doubt a name is kept: a bundle
 * that was loaded after the one that withdraws, with --allow-rollback, is what the site runs.
 */
import { type Digest, subjectOfTag } from '@omni-airgap/oci/model';
import { publicFactoryHost } from '@omni-airgap/talos';

/** A bundle that was loaded. */
interface LoadedBundle {
  readonly origin: string;
  readonly sequence: number;
  /** Of the latest load, ISO 8601. */
  readonly loadedAt: string;
  readonly isKept: boolean;
  /** False for one that was loaded below another prefix only: it neither withdraws names nor loses any. */
  readonly isWithin: boolean;
  readonly withdraws: ReadonlySet<string>;
  /** Its signature was checked. */
  readonly isSigned: boolean;
}

/** A name where it was loaded to. */
interface LoadedName<B> {
  readonly name: string;
  readonly repository: string;
  readonly tag: string | undefined;
  readonly digest: Digest;
  readonly arrivals: readonly B[];
}

export class Withdrawals<B extends LoadedBundle> {
  readonly #withdrawing: readonly B[];

  constructor(arrivals: readonly B[]) {
    this.#withdrawing = arrivals.filter(({ withdraws, isWithin }) => isWithin && withdraws.size > 0);
  }

  /**
   * Whether a later bundle of the same store withdraws a name of a bundle. An unsigned bundle withdraws nothing from a signed
   * one.
   * @param name or the key of an object
   */
  has({ origin, sequence, loadedAt, isWithin, isSigned }: B, name: string): boolean {
    const names = [name, nameOfKey(name)];
    return this.#withdrawing.some(
      (later) =>
        isWithin &&
        (later.isSigned || !isSigned) &&
        later.origin === origin &&
        later.sequence > sequence &&
        later.loadedAt >= loadedAt &&
        names.some((one) => one !== undefined && later.withdraws.has(one)),
    );
  }

  /**
   * Which of the bundles that brought an image keep it. A signature that the site's key made is in no bundle: it is
   * withdrawn with the image that it is about.
   */
  images<I extends LoadedName<B>>(images: readonly I[]): readonly (I & { readonly keptBy: readonly B[] })[] {
    const isWithdrawn = ({ name }: { readonly name: string }, arrival: B): boolean => this.has(arrival, name);
    const byPlace = Map.groupBy(images, placeOf);
    return images.map((image) => {
      const subject = subjectOfTag(image.tag ?? '');
      const about = subject === undefined ? [] : (byPlace.get(placeOf({ ...image, digest: subject })) ?? []);
      const keptBy = image.arrivals.filter((arrival) => {
        const subjects = about.filter(({ arrivals }) => arrivals.includes(arrival));
        const isOfWithdrawn = subjects.length > 0 && subjects.every((one) => isWithdrawn(one, arrival));
        return arrival.isKept && !isWithdrawn(image, arrival) && !isOfWithdrawn;
      });
      return { ...image, keptBy };
    });
  }
}

function placeOf({ repository, digest }: { readonly repository: string; readonly digest: Digest }): string {
  return `${repository}@${digest}`;
}

/** The name in a bundle that an object comes from; undefined for what belongs to no version. */
function nameOfKey(key: string): string | undefined {
  const [kind, first, second] = key.split('/');
  switch (kind) {
    case 'image':
    case 'pxe':
      return `${publicFactoryHost}/talos-media/${first}:${second}`;
    case 'talosctl':
      return `${publicFactoryHost}/talos-catalog/talosctl:${first}`;
    case 'version':
      return `${publicFactoryHost}/talos-catalog/${second}:${first}`;
    default:
      return undefined;
  }
}
