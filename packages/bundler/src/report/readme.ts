/** README.txt on the medium: for whoever holds it in the hand, with our tool or without. */
import { isProgramFile } from '@omni-airgap/format';
import { formatBytes, formatTime, printable } from '@omni-airgap/oci/base';
import type { Summary } from './summary.ts';

/** Names of all volumes for a shell, and no other name: a pattern would match what somebody put beside them (A12). */
function volumeNames(volumes: readonly { readonly name: string }[]): string {
  if (volumes.length <= 3) return volumes.map(({ name }) => name).join(' ');
  return `$(seq -f content.tar.%03g 0 ${volumes.length - 1})`;
}

/** Lines end as Windows' Notepad likes them too. */
export function readmeText({ document, items, bytes }: Summary): string {
  const count = (kind: string): number => items.filter((item) => item.kind === kind).length;
  const { id, volumes, base, roots, withdraws = [] } = document;
  const program = document.files.find(({ name }) => isProgramFile(name))?.name;
  const oci = roots.filter(({ descriptor }) => descriptor.mediaType.startsWith('application/vnd.oci.'));
  const names = new Set(oci.map((root) => root.name));
  const ofOci = items.filter((item) => item.kind === 'image' && !item.inBase && names.has(item.name));
  // The shortest: a line that fits is a line that is copied right.
  const [example = 'NAME'] = ofOci.map((item) => printable(item.name)).sort((a, b) => a.length - b.length);
  const files = volumeNames(volumes);
  const last = volumes.length === 1 ? '' : ` to ${volumes.at(-1)?.name}`;
  const bases = (base ?? []).map((one) => `          ${one.id}\n`).join('');
  const needs =
    base === undefined
      ? ''
      : `Needs:    the bundle(s) below, loaded before this one
${bases}`;
  const unpack =
    base === undefined
      ? `mkdir layout && cat ${files} | tar x -C layout`
      : `mkdir layout
   Unpack the base first, then this one over it, into the same folder:
   cat ${files} | tar x -C layout`;
  const text = `OMNI-AIRGAP BUNDLE
==================
Id:       ${id}
Number:   ${document.sequence} of store ${document.origin}
Made:     ${formatTime(document.createdAt)} by ${printable(document.tool)}
Volumes:  ${volumes.length} (content.tar.000${last}), ${formatBytes(bytes)}
Content:  ${items.length} names: ${count('image')} of images, ${count('media')} of Talos media
${needs}${withdrawnText(withdraws)}
report.html says what is inside, for people; bundle.json and bom.cdx.json
(a CycloneDX inventory of images, not of packages) for programs. With
several media, each holds some of the volumes and all hold the other files.

1. CHECK THE MEDIUM (each of them)
   sha256sum -c SHA256SUMS

2. CHECK WHO MADE IT (with the public key that you received separately)
   base64 -d bundle.json.sig > /tmp/bundle.sig
   openssl dgst -sha256 -verify KEY.pub -signature /tmp/bundle.sig bundle.json
   or, with cosign 3.1.3 or newer (it needs no network for this):
   cosign verify-blob --key KEY.pub --bundle bundle.json.sigstore.json \\
     --insecure-ignore-tlog bundle.json
   Without the file bundle.json.sig nobody has signed it.
   bundle.json states the SHA-256 of every volume, of report.html and of this
   file. Its id is what this prints when all volumes are in one folder:
   sha256sum ${files} | sha256sum

${program === undefined ? '' : programText(program)}${program === undefined ? 3 : 4}. LOAD IT with omni-airgap
   omni-airgap verify --bundle . --verify-key KEY.pub
   omni-airgap load --bundle . --verify-key KEY.pub \\
     --registry REGISTRY:PORT --object-store s3://BUCKET
   Several media: one --bundle for each folder they are mounted at.${
     volumes.length > 2
       ? `
   One drive: run load with one medium after the other, and --spool DIR, since
   a file may lie on two of them.`
       : ''
   }

${program === undefined ? 4 : 5}. LOAD IT WITHOUT omni-airgap
   ${unpack}
   skopeo copy --all --preserve-digests \\
     oci:layout:${example} \\
     docker://REGISTRY/REPOSITORY:TAG
   oras copy --from-oci-layout layout@DIGEST REGISTRY/REPOSITORY:TAG
   skopeo finds no image of Docker's media types in a layout (those of
   registry.k8s.io are such): take oras for them.
   index.json in the layout lists every name with its digest. Media of Talos
   are artifacts there: oras pull --oci-layout layout@DIGEST gives the files.
`;
  return text.replaceAll('\n', '\r\n');
}

/** What falls away inside, and what must be done first. */
function withdrawnText(names: readonly string[]): string {
  if (names.length === 0) return '';
  return `
WITHDRAWN: ${names.length} name${names.length === 1 ? '' : 's'} of earlier bundles must no longer be used; the list
is in report.html. With this bundle, omni-airgap serve no longer serves them from
earlier bundles of this store, and prune does not keep them. load deletes nothing.
Before you load or serve this bundle, update omni-airgap inside: versions that
do not support withdrawals refuse it (bundle.json: schema 2 is newer than this
program).
`;
}

/** @param name an executable that is carried */
function programText(name: string): string {
  return `3. TAKE omni-airgap FROM THE MEDIUM (it is on one of several)
   After step 2 has said that bundle.json is right, and not before:
   sed -n 's/.*"\\(omni-airgap-linux-[a-z0-9]*\\)".*"\\([a-f0-9]*\\)".*/\\2  \\1/p' \\
     bundle.json | sha256sum -c
   Copy the one for this machine (uname -m: x86_64 is amd64, aarch64 is arm64)
   to a disk that allows execution, and run it in place of omni-airgap:
   install -m 755 ${name} $HOME/omni-airgap
   RELEASE.txt lists the libraries that it needs, LICENSES.txt its licenses.

`;
}
