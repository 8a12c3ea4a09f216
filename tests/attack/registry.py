"""A registry on loopback that serves what it is told, in a process of its own, so that it delays nobody else's threads."""

import asyncio
import base64
import hashlib
import json
import multiprocessing
import pathlib
import re
import subprocess
import tempfile

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
SIMPLE_SIGNING = "application/vnd.dev.cosign.simplesigning.v1+json"
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
IN_TOTO = "application/vnd.in-toto+json"


def sha256(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def to_json(document):
    return json.dumps(document, separators=(",", ":")).encode()


class Key:
    """A test key, made for one run."""

    def __init__(self):
        self._directory = tempfile.TemporaryDirectory(prefix="countersign-test-key-")
        self._private = pathlib.Path(self._directory.name, "key.pem")
        openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", self._private)
        self.public = openssl("ec", "-in", self._private, "-pubout").decode()

    def sign(self, data):
        """Returns the signature in base64."""
        return base64.b64encode(openssl("dgst", "-sha256", "-sign", self._private, stdin=data)).decode()


def openssl(*arguments, stdin=b""):
    done = subprocess.run(["openssl", *map(str, arguments)], input=stdin, capture_output=True, check=True)
    return done.stdout


class Registry:
    """Content is put in first; `start` then serves it.

    `special` maps a path (without query) to a coroutine function `(method, query, headers, writer)` that writes the answer itself.
    """

    def __init__(self, delay=0.0):
        self.manifests, self.blobs, self.referrers, self.special = {}, {}, {}, {}
        self.delay = delay
        self.key = Key()
        self._socket = None
        self._count = multiprocessing.Value("q", 0)
        import socket
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self.host = "127.0.0.1:%d" % self._socket.getsockname()[1]

    # Content

    def put(self, repository, tag, document, media_type=MANIFEST):
        data = document if isinstance(document, bytes) else to_json(document)
        digest = sha256(data)
        self.manifests[repository, digest] = data, media_type
        if tag:
            self.manifests[repository, tag] = data, media_type
        return digest

    def blob(self, data):
        self.blobs[sha256(data)] = data
        return {"digest": sha256(data), "size": len(data)}

    def image(self, repository, tag, layers=(b"layer",), **members):
        """Puts an image. A layer is its bytes, or a whole descriptor."""
        config = to_json({"architecture": "amd64", "os": "linux", "name": f"{repository}:{tag}",
                          "rootfs": {"type": "layers", "diff_ids": []}})
        described = [layer if isinstance(layer, dict) else {"mediaType": LAYER, **self.blob(layer)} for layer in layers]
        return self.put(repository, tag, {
            "schemaVersion": 2, "mediaType": MANIFEST, "config": {"mediaType": CONFIG, **self.blob(config)},
            "layers": described, **members})

    def sign(self, repository, digest):
        """Puts a signature in cosign's legacy format."""
        payload = to_json({
            "critical": {"identity": {"docker-reference": f"{self.host}/{repository}"},
                         "image": {"docker-manifest-digest": digest}, "type": "cosign container image signature"},
            "optional": None})
        layer = {"mediaType": SIMPLE_SIGNING, **self.blob(payload),
                 "annotations": {"dev.cosignproject.cosign/signature": self.key.sign(payload)}}
        self.put(repository, digest.replace(":", "-") + ".sig", {
            "schemaVersion": 2, "mediaType": MANIFEST, "config": {"mediaType": CONFIG, **self.blob(b"{}")}, "layers": [layer]})

    def signed_image(self, repository, tag, **members):
        digest = self.image(repository, tag, **members)
        self.sign(repository, digest)
        return digest

    def attest(self, repository, digest, predicate_type, predicate, padding=0):
        """Puts a signed attestation as a bundle that refers to the digest."""
        statement = to_json({
            "_type": "https://in-toto.io/Statement/v1", "subject": [{"name": "x", "digest": {"sha256": digest[7:]}}],
            "predicateType": predicate_type, "predicate": predicate})
        signed = b"DSSEv1 %d %s %d %s" % (len(IN_TOTO), IN_TOTO.encode(), len(statement), statement)
        bundle = to_json({
            "mediaType": BUNDLE, "verificationMaterial": {"publicKey": {"hint": ""}, "tlogEntries": []},
            "dsseEnvelope": {"payload": base64.b64encode(statement).decode(), "payloadType": IN_TOTO,
                             "signatures": [{"sig": self.key.sign(signed)}]}})
        self.refer(repository, digest, bundle + b" " * padding, BUNDLE)

    def refer(self, repository, subject, blob, artifact_type):
        """Puts an artifact with one blob that refers to `subject`."""
        document = to_json({
            "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": artifact_type,
            "config": {"mediaType": "application/vnd.oci.empty.v1+json", **self.blob(b"{}")},
            "layers": [{"mediaType": artifact_type, **self.blob(blob)}],
            "subject": {"mediaType": MANIFEST, "digest": subject, "size": 1}})
        digest = self.put(repository, None, document)
        listed = self.referrers.setdefault((repository, subject), [])
        listed.append({"mediaType": MANIFEST, "digest": digest, "size": len(document), "artifactType": artifact_type})

    # Serving

    def start(self):
        process = multiprocessing.Process(target=self._run, daemon=True)
        process.start()
        self._socket.close()
        self._process = process

    def stop(self):
        self._process.kill()
        self._process.join()

    def requests(self):
        """Returns the number of requests since the start."""
        return self._count.value

    def _run(self):
        asyncio.run(self._serve())

    async def _serve(self):
        server = await asyncio.start_server(self._connection, sock=self._socket, limit=2**20)
        async with server:
            await server.serve_forever()

    async def _connection(self, reader, writer):
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                method, target, _version = head[0].split(" ", 2)
                path, _, query = target.partition("?")
                headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
                self._count.value += 1
                if self.delay:
                    await asyncio.sleep(self.delay)
                if path in self.special:
                    await self.special[path](method, query, headers, writer)
                else:
                    self._answer(method, path, headers, writer)
                await writer.drain()
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError, ValueError):
            pass
        finally:
            writer.close()

    def _answer(self, method, path, headers, writer):
        found = re.fullmatch(r"/v2/(.+)/(manifests|blobs|referrers|move)/([^/]+)", path)
        if path == "/v2/":
            return write(writer, method, 200, {}, b"{}")
        if not found:
            return write(writer, method, 404, {}, b"{}")
        repository, kind, reference = found.groups()
        if kind == "move":
            # A test moves a tag: /v2/REPOSITORY/move/FROM:TO
            source, target = reference.split(":")
            self.manifests[repository, target] = self.manifests[repository, source]
            return write(writer, method, 200, {}, b"{}")
        if kind == "manifests" and (repository, reference) in self.manifests:
            data, media_type = self.manifests[repository, reference]
            return write(writer, method, 200, {"Content-Type": media_type, "Docker-Content-Digest": sha256(data)}, data)
        if kind == "blobs" and reference in self.blobs:
            data = self.blobs[reference]
            asked = re.fullmatch(r"bytes=(\d+)-(\d*)", headers.get("range", ""))
            if asked:
                first, last = int(asked[1]), min(int(asked[2] or len(data)), len(data) - 1)
                return write(writer, method, 206, {"Content-Range": f"bytes {first}-{last}/{len(data)}"}, data[first:last + 1])
            return write(writer, method, 200, {}, data)
        if kind == "referrers" and (repository, reference) in self.referrers:
            index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": self.referrers[repository, reference]}
            return write(writer, method, 200, {"Content-Type": INDEX}, to_json(index))
        return write(writer, method, 404, {}, b'{"errors":[{"code":"MANIFEST_UNKNOWN"}]}')


def write(writer, method, status, headers, body):
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", *(f"{name}: {value}" for name, value in headers.items())]
    writer.write("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + (b"" if method == "HEAD" else body))
