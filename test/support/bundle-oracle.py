"""Bundles read and written from docs/bundle-format.md alone, with the standard library: the second implementation of that page.

    bundle-oracle.py check [--key PUBLIC.pem] FOLDER...    reads a bundle, one folder for each medium
    bundle-oracle.py vectors BUNDLE.jsonl                  makes the golden vectors from their parameters

What is wrong ends it with one line and exit code 1. It shares no code with the program: where both read a sentence of
the page alike, the sentence is good enough.
"""

import base64
import hashlib
import json
import operator
import os
import re
import subprocess
import sys
import tempfile

SMALL = 64 * 1024
LARGEST_MANIFEST = 4 << 20
CHUNK = 1 << 20
INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
POSITION = operator.itemgetter("volume", "offset")
OCI_LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'

# Members of bundle.json. "?" may be left out, a list of one holds any number, None is any value.
DESCRIPTOR = {"mediaType": None, "digest": None, "size": None}
FILE = {"name": None, "size": None, "sha256": None}
MEMBERS = {
    "kind": None, "schema": None, "id": None, "origin": None, "sequence": None, "createdAt": None, "createdBy?": None,
    "tool": None,
    "base?": [{"id": None, "origin": None, "sequence": None}],
    "changes?": {"added": [None], "removed": [None], "moved": [{"name": None, "from": None}]},
    "roots": [{"name": None, "descriptor": DESCRIPTOR, "kind?": None, "source?": None, "fetchedAt?": None, "fetchedBy?": None,
               "signature?": None, "verified?": {"key?": None, "identity?": None, "issuer?": None, "signature": None}}],
    "withdraws?": [None],
    "blobs": [{"digest": None, "size": None, "volume": None, "offset": None, "kind?": None}],
    "relies?": {"repositories": [{"repository": None, "blobs": [{"digest": None, "size": None, "kind?": None}]}],
                "objects": [{"key": None, "digest": None, "size": None}]},
    "volumes": [FILE], "files": [FILE], "sparse?": [DESCRIPTOR],
    "secrets?": {"policy": None, "schematics": None, "found": [None]},
    "egress": [{"host": None, "requests": None, "bytes": None}],
}


def need(condition, message):
    if not condition:
        sys.exit(message)


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def padded(size):
    return (size + 511) // 512 * 512


def header(name, size):
    folder = name.endswith("/")
    octal = b"%011o\0" % size if size < 8 << 30 else b"\x80" + size.to_bytes(11, "big")
    fields = (name.encode().ljust(100, b"\0") + (b"0000755\0" if folder else b"0000644\0") + b"0000000\0" * 2 + octal
              + b"00000000000\0", (b"5" if folder else b"0") + b"\0" * 100 + b"ustar\x0000" + b"\0" * 247)
    checksum = sum(b"".join(fields)) + 8 * ord(" ")
    return fields[0] + b"%06o\0 " % checksum + fields[1]


def index_json(roots, bases):
    manifests = []
    for name, descriptor in sorted(roots.items()):
        named = {} if name == "@" + descriptor["digest"] else {"annotations": {"org.opencontainers.image.ref.name": name}}
        manifests.append({**{member: descriptor[member] for member in ("mediaType", "digest", "size")}, **named})
    index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}
    if bases:
        index["annotations"] = {"omni-airgap.bases": ",".join(bases)}
    return json.dumps(index, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


def opening(index):
    """What volume 000 begins with."""
    files = b""
    for name, data in (("oci-layout", OCI_LAYOUT), ("index.json", index)):
        files += header(name, len(data)) + data.ljust(padded(len(data)), b"\0")
    return files + header("blobs/", 0) + header("blobs/sha256/", 0)


def stream(index, blobs):
    """All volumes as one stream: bytes, or a blob whose bytes follow."""
    yield opening(index)
    for blob in blobs:
        yield header("blobs/sha256/" + blob["digest"][len("sha256:"):], blob["size"])
        yield blob
        yield b"\0" * (padded(blob["size"]) - blob["size"])
    yield b"\0" * 1024


def lay_out(sizes, opening_size, volume_size):
    """Places for blobs (digest to size), in the order in which they lie, and the sizes of the volumes."""
    room = volume_size // 512 * 512 - 1024
    order = sorted(sizes, key=lambda digest: (-sizes[digest], digest))
    ends = [opening_size]
    places = []
    for digest in [d for d in order if sizes[d] <= SMALL] + [d for d in order if sizes[d] > SMALL]:
        size = 512 + padded(sizes[digest])
        if sizes[digest] <= SMALL:
            volume = 0
        elif size > room:
            volume = len(ends)
            ends += [room] * (size // room) + [size % room]
            size = 0
        else:
            volume = next((i for i in range(1, len(ends)) if ends[i] + size <= room), len(ends))
            ends += [0] * (volume == len(ends))
        places.append({"digest": digest, "size": sizes[digest], "volume": volume, "offset": (ends[volume] if size else 0) + 512})
        ends[volume] += size
    ends[-1] += 1024
    return sorted(places, key=POSITION), ends


def bundle_id(volumes):
    return sha256("".join(f"{v['sha256']}  {v['name']}\n" for v in volumes).encode())


def vectors(path):
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            vector = json.loads(line)
            if vector["kind"] == "header":
                need(header(vector["name"], vector["size"]).hex() == vector["hex"], f"header of {vector['name']}")
            else:
                write(vector)
            print(vector.get("what", vector.get("name")))


def write(vector):
    content = {}
    for blob in vector["blobs"]:
        data = bytes((31 * i + 17 * blob["seed"] + i // 256) % 256 for i in range(blob["size"]))
        content["sha256:" + sha256(data)] = data
    digests = list(content)
    roots = {name: {"mediaType": MANIFEST, "digest": digests[i], "size": len(content[digests[i]])} for name, i in vector["names"].items()}
    index = index_json(roots, vector.get("bases"))
    need(index.decode() == vector["index"], f"{vector['what']}: index.json")
    places, sizes = lay_out({d: len(data) for d, data in content.items()}, len(opening(index)), vector["volumeSize"])
    need(places == sorted(vector["places"], key=POSITION), f"{vector['what']}: places {places}")
    written = b"".join(part if isinstance(part, bytes) else content[part["digest"]] for part in stream(index, places))
    volumes = []
    for number, size in enumerate(sizes):
        volume, written = written[:size], written[size:]
        volumes.append({"name": f"content.tar.{number:03d}", "size": len(volume), "sha256": sha256(volume)})
    need(not written and volumes == vector["volumes"], f"{vector['what']}: volumes {volumes}")
    need(bundle_id(volumes) == vector["id"], f"{vector['what']}: id")



def check(folders, key):
    with open(os.path.join(folders[0], "bundle.json"), "rb") as file:
        signed = file.read()
    if key:
        check_signature(folders, key)
    for folder in folders:
        check_sigstore(folder, signed)
    bundle = parse(signed)
    check_places(bundle)
    for folder in folders:
        check_medium(folder, signed, bundle)
    content = read_volumes(folders, bundle)
    check_graph(bundle, content)
    cut = sum(blob["offset"] + blob["size"] > bundle["volumes"][blob["volume"]]["size"] for blob in bundle["blobs"])
    print(json.dumps({"id": bundle["id"], "volumes": len(bundle["volumes"]), "blobs": len(bundle["blobs"]), "cut": cut,
                      "names": len(bundle["roots"]), "relied": len(relied(bundle)), "signed": bool(key)}))


def check_signature(folders, key):
    with open(os.path.join(folders[0], "bundle.json.sig"), encoding="ascii") as file, tempfile.NamedTemporaryFile() as raw:
        raw.write(base64.b64decode(file.read()))
        raw.flush()
        verify = ["openssl", "dgst", "-sha256", "-verify", key, "-signature", raw.name, os.path.join(folders[0], "bundle.json")]
        need(subprocess.run(verify, stdout=subprocess.DEVNULL, check=False).returncode == 0, "bundle.json.sig is not of this key")


def check_sigstore(folder, signed):
    """The signature once more for cosign: the same one, where both files are there."""
    paths = [os.path.join(folder, "bundle.json." + end) for end in ("sig", "sigstore.json")]
    if not all(map(os.path.exists, paths)):
        return
    with open(paths[0], encoding="ascii") as file:
        signature = file.read().strip()
    with open(paths[1], "rb") as file:
        message = json.load(file)["messageSignature"]
    digest = base64.b64encode(hashlib.sha256(signed).digest()).decode()
    need(message == {"messageDigest": {"algorithm": "SHA2_256", "digest": digest}, "signature": signature}, f"{paths[1]} differs")


def parse(data):
    def single(pairs):
        need(len(dict(pairs)) == len(pairs), "bundle.json: a member twice")
        return dict(pairs)

    bundle = json.loads(data.decode(), object_pairs_hook=single)
    need(bundle["kind"] == "omni-airgap/bundle" and bundle["schema"] == (2 if "withdraws" in bundle else 1),
         "bundle.json: kind or schema")
    check_members(bundle, MEMBERS, "bundle.json")
    need(not set(bundle.get("withdraws", [])) & {root["name"] for root in bundle["roots"]}, "withdraws a name of its own")
    return bundle


def check_members(value, shape, where):
    if isinstance(shape, list):
        for entry in value:
            check_members(entry, shape[0], where)
    elif shape:
        known = {name.rstrip("?"): (name, of) for name, of in shape.items()}
        need(not set(value) - set(known), f"{where}: unknown {set(value) - set(known)}")
        for name, (spelt, of) in known.items():
            need(name in value or spelt.endswith("?"), f"{where}: no {name}")
            if name in value:
                check_members(value[name], of, f"{where}.{name}")


def roots_and_bases(bundle):
    return {root["name"]: root["descriptor"] for root in bundle["roots"]}, [base["id"] for base in bundle.get("base", [])]


def check_places(bundle):
    """The places follow from the blobs: each begins one header behind the end of the one before, in the volumes as one stream."""
    volumes = bundle["volumes"]
    need(bundle_id(volumes) == bundle["id"], "id is not that of the volumes")
    need([v["name"] for v in volumes] == [f"content.tar.{i:03d}" for i in range(len(volumes))], "names of volumes")
    starts = [sum(volume["size"] for volume in volumes[:number]) for number in range(len(volumes))]
    end = len(opening(index_json(*roots_and_bases(bundle))))
    for blob in in_order(bundle):
        need(blob["offset"] <= volumes[blob["volume"]]["size"], f"{blob['digest']} begins behind its volume")
        need(starts[blob["volume"]] + blob["offset"] == end + 512, f"{blob['digest']} is not where the one before ends")
        end += 512 + padded(blob["size"])
    need(end + 1024 == sum(volume["size"] for volume in volumes), "the volumes end elsewhere")
    need(not relied(bundle) & {blob["digest"] for blob in bundle["blobs"]}, "carries and relies on the same blob")


def in_order(bundle):
    return sorted(bundle["blobs"], key=POSITION)


def relied(bundle):
    relies = bundle.get("relies", {"repositories": [], "objects": []})
    in_repositories = {blob["digest"] for repository in relies["repositories"] for blob in repository["blobs"]}
    return in_repositories | {in_store["digest"] for in_store in relies["objects"]}


def check_medium(folder, signed, bundle):
    with open(os.path.join(folder, "bundle.json"), "rb") as file:
        need(file.read() == signed, f"{folder}: another bundle.json")
    for name in os.listdir(folder):
        need(not name.startswith("content.tar.") or name in [v["name"] for v in bundle["volumes"]],
             f"{folder}/{name} is no volume of this bundle")
    sums = subprocess.run(["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"], cwd=folder, check=False)
    need(sums.returncode == 0, f"{folder}: SHA256SUMS")
    names = [of["name"].lower() for of in bundle["files"]]
    need(len(set(names)) == len(names), "a file stands twice")
    for of in bundle["files"]:
        need(re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,98}[A-Za-z0-9_-])?", of["name"]), f"{of['name']} is no name of a file")
        if re.fullmatch("omni-airgap-[a-z0-9]+-[a-z0-9]+", of["name"]) and not os.path.exists(os.path.join(folder, of["name"])):
            continue  # the program is on one medium
        with open(os.path.join(folder, of["name"]), "rb") as file:
            data = file.read()
        need(len(data) == of["size"] and sha256(data) == of["sha256"], f"{of['name']} is not as signed")


class Volumes:
    """The volumes as one stream; `seen` is what they are, for bundle.json to agree with."""

    def __init__(self, folders, volumes):
        self.left = [(volume, find(folders, volume["name"])) for volume in volumes]
        self.seen = []
        self.file = None

    def read(self, size):
        """Yields `size` bytes in chunks, fewer at the end of all volumes."""
        while size and (self.file or self.left):
            if not self.file:
                self.volume, path = self.left.pop(0)
                self.file, self.hash = open(path, "rb"), hashlib.sha256()
            chunk = self.file.read(min(size, CHUNK))
            self.hash.update(chunk)
            size -= len(chunk)
            if chunk:
                yield chunk
            if self.file.tell() >= self.volume["size"] or not chunk:
                self.seen.append({"name": self.volume["name"], "size": os.path.getsize(self.file.name), "sha256": self.hash.hexdigest()})
                self.file = self.file.close()


def find(folders, name):
    for folder in folders:
        if os.path.exists(os.path.join(folder, name)):
            return os.path.join(folder, name)
    sys.exit(f"{name} is on none of the media")


def read_volumes(folders, bundle):
    """Compares every byte. Returns the blobs that are small enough to be manifests."""
    volumes = Volumes(folders, bundle["volumes"])
    content = {}
    for part in stream(index_json(*roots_and_bases(bundle)), in_order(bundle)):
        if isinstance(part, bytes):
            need(b"".join(volumes.read(len(part))) == part, f"{volumes.volume['name']}: bytes that are no blob's")
            continue
        digest, kept = hashlib.sha256(), []
        for chunk in volumes.read(part["size"]):
            digest.update(chunk)
            kept += [chunk] if part["size"] <= LARGEST_MANIFEST else []
        need("sha256:" + digest.hexdigest() == part["digest"], f"{part['digest']}, up to {volumes.volume['name']}, is damaged")
        content[part["digest"]] = b"".join(kept)
    need(volumes.seen == bundle["volumes"], "the volumes are not as signed")
    return content


def check_graph(bundle, content):
    """Every name leads to content that is carried or relied on; of a sparse index, to some of it."""
    sparse = {descriptor["digest"] for descriptor in bundle.get("sparse", [])}
    todo = [(root["descriptor"], False) for root in bundle["roots"]]
    seen = set()
    while todo:
        descriptor, may_lack = todo.pop()
        digest = descriptor["digest"]
        if digest in seen:
            continue
        seen.add(digest)
        if digest not in content:
            need(may_lack or digest in relied(bundle), f"{digest} is neither carried nor relied on")
        elif re.search(r"image\.(manifest|index)\.v1\+json$|distribution\.manifest\.(list\.)?v2\+json$", descriptor["mediaType"]):
            manifest = json.loads(content[digest])
            children = manifest.get("manifests", []) + manifest.get("layers", []) + [manifest[k] for k in ("config",) if k in manifest]
            todo += [(child, digest in sparse) for child in children]
    need(set(content) <= seen, f"nothing leads to {set(content) - seen}")


def main(verb="", *words):
    if verb == "vectors":
        vectors(*words)
    elif verb == "check":
        key = words[1] if words[0] == "--key" else None
        check(words[2:] if key else words, key)
    else:
        sys.exit(__doc__)


main(*sys.argv[1:])
