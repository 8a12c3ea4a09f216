"""Makes the images that the load test pulls: real layers, signed as cosign signs with a key (legacy format)."""

import base64
import dataclasses
import hashlib
import io
import json
import pathlib
import random
import subprocess
import tarfile

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
SIMPLE_SIGNING = "application/vnd.dev.cosign.simplesigning.v1+json"


@dataclasses.dataclass
class Image:
    """A signed image in a repository of its own, under the tag `v1`."""

    repository: str
    digest: str
    config: dict
    layer: dict


class Registry:
    """Content on disk for `upstream.py`: blobs by digest, and what each repository calls them."""

    def __init__(self, root):
        self.root = pathlib.Path(root)
        (self.root / "blobs").mkdir(parents=True)
        self._paths = {}
        self._key = self.root / "signing-key.pem"
        self.public_key = self.root / "signing-key.pub"
        _openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", self._key)
        _openssl("ec", "-in", self._key, "-pubout", "-out", self.public_key)

    def add_image(self, repository, layer_bytes, seed):
        """An image with one layer of about `layer_bytes` random bytes; different seeds share no content."""
        tar = _layer(layer_bytes, seed)
        configuration = {
            "architecture": "amd64", "os": "linux", "config": {"Labels": {"seed": str(seed)}},
            "rootfs": {"type": "layers", "diff_ids": [_digest(tar)]},
        }
        config = self._add_blob(repository, CONFIG, _json(configuration))
        layer = self._add_blob(repository, LAYER, tar)
        digest = self._add_manifest(repository, config, [layer], "v1")
        self._sign(repository, digest)
        return Image(repository, digest, config, layer)

    def write(self):
        """Makes everything added so far visible to `upstream.py`."""
        (self.root / "registry.json").write_text(json.dumps(self._paths))

    def _sign(self, repository, digest):
        payload = _json({
            "critical": {
                "identity": {"docker-reference": repository},
                "image": {"docker-manifest-digest": digest},
                "type": "cosign container image signature",
            },
            "optional": None,
        })
        signature = _openssl("dgst", "-sha256", "-sign", self._key, given=payload)
        layer = self._add_blob(repository, SIMPLE_SIGNING, payload)
        layer["annotations"] = {"dev.cosignproject.cosign/signature": base64.b64encode(signature).decode()}
        configuration = {
            "architecture": "", "created": "0001-01-01T00:00:00Z", "os": "", "config": {},
            "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]},
        }
        config = self._add_blob(repository, CONFIG, _json(configuration))
        self._add_manifest(repository, config, [layer], f"{digest.replace(':', '-')}.sig")

    def _add_manifest(self, repository, config, layers, tag):
        body = _json({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers})
        descriptor = self._store(MANIFEST, body)
        for reference in (descriptor["digest"], tag):
            self._paths[f"/v2/{repository}/manifests/{reference}"] = [MANIFEST, descriptor["digest"]]
        return descriptor["digest"]

    def _add_blob(self, repository, media_type, body):
        descriptor = self._store(media_type, body)
        self._paths[f"/v2/{repository}/blobs/{descriptor['digest']}"] = [
            "application/octet-stream", descriptor["digest"],
        ]
        return descriptor

    def _store(self, media_type, body):
        digest = _digest(body)
        (self.root / "blobs" / digest).write_bytes(body)
        return {"mediaType": media_type, "digest": digest, "size": len(body)}


def _layer(size, seed):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        entry = tarfile.TarInfo("data")
        entry.size = size
        tar.addfile(entry, io.BytesIO(random.Random(seed).randbytes(size)))
    return buffer.getvalue()


def _digest(body):
    return "sha256:" + hashlib.sha256(body).hexdigest()


def _json(value):
    return json.dumps(value, separators=(",", ":")).encode()


def _openssl(*arguments, given=b""):
    command = ["openssl", *map(str, arguments)]
    return subprocess.run(command, input=given, check=True, capture_output=True).stdout
