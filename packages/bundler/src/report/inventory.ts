/**
 * bom.cdx.json: a CycloneDX inventory of the bundle, for tools that keep track of what is inside. It lists images and boot
 * assets, not the packages in them: those are in the SBOMs that travel with images. The same bundle gives the same bytes.
 * Sources: CycloneDX 1.6 JSON schema; package-url/purl-spec types/oci-definition.json; RFC 9562 section 5.8 (UUID version 8).
 */
import { byText } from '@omni-airgap/oci/base';
import { type Digest, hexOf } from '@omni-airgap/oci/model';
import { repositoryIn, tagOf } from './names.ts';
import type { Summary, SummaryItem } from './summary.ts';

/** File name on the media. */
export const inventoryName = 'bom.cdx.json';

type Models = typeof import('@cyclonedx/cyclonedx-library/Models');

/** @returns the bytes of the file; the library is loaded here, since few commands need it */
export async function inventory(summary: Summary): Promise<Uint8Array> {
  const [
    models,
    { ComponentType, ExternalReferenceType, HashAlgorithm },
    { isSupportedSpdxId },
    serialize,
    { Spec1dot6 },
  ] = await Promise.all([
    import('@cyclonedx/cyclonedx-library/Models'),
    import('@cyclonedx/cyclonedx-library/Enums'),
    import('@cyclonedx/cyclonedx-library/SPDX'),
    import('@cyclonedx/cyclonedx-library/Serialize'),
    import('@cyclonedx/cyclonedx-library/Spec'),
  ]);
  const { document, items } = summary;
  const hashes = (digest: Digest): InstanceType<Models['HashDictionary']> =>
    new models.HashDictionary([[HashAlgorithm['SHA-256'], hexOf(digest)]]);
  const imageOf = (item: SummaryItem): InstanceType<Models['Component']> => {
    const { name, digest, licenses, sourceCode } = item;
    const component = new models.Component(ComponentType.Container, repositoryIn(name), {
      bomRef: name,
      version: tagOf(name),
      hashes: hashes(digest),
      purl: ociPurl(name, digest),
    });
    if (licenses !== undefined) {
      component.licenses.add(
        isSupportedSpdxId(licenses) ? new models.SpdxLicense(licenses) : new models.NamedLicense(licenses),
      );
    }
    if (sourceCode !== undefined)
      component.externalReferences.add(new models.ExternalReference(sourceCode, ExternalReferenceType.VCS));
    return component;
  };
  const filesOf = ({ name, files }: SummaryItem): InstanceType<Models['Component']>[] =>
    files.map(
      (file) =>
        new models.Component(ComponentType.File, file.name, {
          bomRef: `${name}/${file.name}`,
          group: repositoryIn(name),
          version: tagOf(name),
          hashes: hashes(file.digest),
        }),
    );
  const inOrder = [...items].sort((a, b) => byText(a.name, b.name));
  const bom = new models.Bom({
    serialNumber: serialNumberOf(document.id),
    metadata: new models.Metadata({
      timestamp: new Date(document.createdAt),
      tools: new models.Tools({
        components: new models.ComponentRepository([
          new models.Component(ComponentType.Application, document.tool),
        ]),
      }),
      component: new models.Component(ComponentType.File, 'omni-airgap bundle', {
        bomRef: document.id,
        version: document.id,
        description: 'Container images and boot assets of one bundle; the packages in them are not listed.',
      }),
    }),
    components: new models.ComponentRepository(
      inOrder.flatMap((item) =>
        item.kind === 'image' ? [imageOf(item)] : item.kind === 'media' ? filesOf(item) : [],
      ),
    ),
  });
  const normalizers = new serialize.JSON.Normalize.Factory(Spec1dot6);
  const text = new serialize.JsonSerializer(normalizers).serialize(bom, { sortLists: false, space: 2 });
  return Buffer.from(`${text}\n`);
}

/** A UUID made of a hash, the bundle's id: `urn:uuid:…`. */
function serialNumberOf(id: string): string {
  const variant = ((Number.parseInt(id.slice(16, 17), 16) & 3) | 8).toString(16);
  const parts = [id.slice(0, 8), id.slice(8, 12), `8${id.slice(13, 16)}`, `${variant}${id.slice(17, 20)}`];
  return `urn:uuid:${[...parts, id.slice(20, 32)].join('-')}`;
}

/** `pkg:oci/omni@sha256%3A…?repository_url=ghcr.io/siderolabs/omni&tag=v1.10.4` */
function ociPurl(name: string, digest: Digest): string {
  const encoded = (text: string): string => encodeURIComponent(text).replaceAll('%2F', '/');
  const repository = repositoryIn(name);
  const tag = tagOf(name).replace(/@.*$/, '');
  const last = encoded(repository.slice(repository.lastIndexOf('/') + 1).toLowerCase());
  // Sorted by key.
  const qualifiers = [
    `repository_url=${encoded(repository)}`,
    ...(tag === '' || tag.startsWith('sha256:') ? [] : [`tag=${encoded(tag)}`]),
  ];
  return `pkg:oci/${last}@${encodeURIComponent(digest)}?${qualifiers.join('&')}`;
}
