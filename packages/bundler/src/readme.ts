/** README.txt on the medium: for whoever holds it in the hand, with our tool or without. */

export interface ReadmeFacts {
  readonly id: string;
  readonly volumes: number;
  /** Bytes of all volumes. */
  readonly bytes: number;
  readonly images: number;
  readonly media: number;
  /** A name that is in the bundle, for the examples. */
  readonly example: string;
}

/** Lines end as Windows' Notepad likes them too; nothing is wider than 79 characters. */
export function readmeText(facts: ReadmeFacts): string {
  const lines = `
OMNI-AIRGAP BUNDLE
==================
Id:       ${facts.id}
Volumes:  ${facts.volumes} (content.tar.000 and following), ${facts.bytes} bytes
Content:  ${facts.images} images, ${facts.media} sets of Talos media

What is inside is listed in bundle.json. The id is the SHA-256 of what
"sha256sum content.tar.*" prints when all volumes are there.

1. CHECK THE MEDIUM
   sha256sum -c SHA256SUMS

2. CHECK WHO MADE IT (with the public key you were given on another way)
   base64 -d bundle.json.sig > /tmp/bundle.sig
   openssl dgst -sha256 -verify KEY.pub -signature /tmp/bundle.sig bundle.json
   or: cosign verify-blob --key KEY.pub --signature bundle.json.sig \\
         --insecure-ignore-tlog=true bundle.json
   bundle.json states the SHA-256 of every volume and of this file.

3. LOAD IT with omni-airgap
   omni-airgap verify --bundle . --verify-key KEY.pub
   omni-airgap load --bundle . --verify-key KEY.pub \\
     --registry REGISTRY:PORT --object-store s3://BUCKET
   Several media: one --bundle for each folder they are mounted at.

4. LOAD IT WITHOUT omni-airgap
   mkdir layout && cat content.tar.* | tar x -C layout
   skopeo copy --all \\
     oci:layout:${facts.example} \\
     docker://REGISTRY/REPOSITORY:TAG
   oras copy --from-oci-layout layout@DIGEST REGISTRY/REPOSITORY:TAG
`;
  return lines.trimStart().replaceAll('\n', '\r\n');
}
