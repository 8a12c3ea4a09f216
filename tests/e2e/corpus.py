"""The corpus of signed images, served as an upstream registry, and the policies that its cases ask for."""

import http.server
import json
import pathlib
import threading

FIXTURES = pathlib.Path(__file__).resolve().parents[1] / "fixtures" / "corpus"
INDEX = "application/vnd.oci.image.index.v1+json"


def case(identifier):
    """The corpus case of that name."""
    for candidate in json.loads((FIXTURES / "cases.json").read_text()):
        if candidate["id"] == identifier:
            return candidate
    raise KeyError(f"the corpus has no case {identifier}")


def repository(name):
    """Tags, manifests and blobs of one repository of the corpus."""
    return json.loads((FIXTURES / "registry.json").read_text())["repositories"][name]


def content(digest):
    """The bytes of an object of the corpus; None where the corpus leaves one out on purpose."""
    path = FIXTURES / "blobs" / "sha256" / digest.removeprefix("sha256:")
    return path.read_bytes() if path.is_file() else None


def everything_below(digest):
    """The digest of a manifest, of every manifest it lists, and of all their blobs."""
    manifest = json.loads(content(digest))
    if "manifests" in manifest:
        return [digest, *(found for child in manifest["manifests"] for found in everything_below(child["digest"]))]
    return [digest, *(blob["digest"] for blob in (manifest["config"], *manifest["layers"]))]


def policy(identifier, registry, trusted_roots):
    """The policy of a case, in the native format, for its repository at `registry`.

    The trusted roots it needs are added to `trusted_roots`.
    """
    wanted = case(identifier)
    authorities = []
    for neutral in wanted["policy"]["authorities"]:
        authority = {"name": neutral["name"]}
        if "key" in neutral:
            authority["key"] = str(FIXTURES / neutral["key"])
        else:
            authority["certificate_identity"] = neutral["certificate_identity"]
            authority["certificate_oidc_issuer"] = neutral["certificate_oidc_issuer"]
            authority["sct"] = "required" if neutral.get("require_sct", True) else "not_required"
        if "trusted_root" in neutral:
            name = pathlib.Path(neutral["trusted_root"]).stem.replace("_", "-")
            trusted_roots[name] = {"file": str(FIXTURES / neutral["trusted_root"])}
            authority["trusted_root"] = name
        authority["transparency_log"] = "required" if neutral.get("require_tlog", True) else "not_required"
        authority["signed_timestamp"] = "required" if neutral.get("require_signed_timestamp") else "accepted"
        authorities.append(authority)
    return {"name": identifier, "images": [f"{registry}/{wanted['repository']}"], "authorities": authorities}


class Upstream:
    """A registry on loopback that holds the whole corpus and answers from memory.

    Each repository is there under its own name, and under the same name behind each of `prefixes`.
    """

    def __init__(self, prefixes=()):
        answers = self._answers = _answers()
        for prefix in prefixes:
            moved = {path.replace("/v2/", f"/v2/{prefix}", 1): answer for path, answer in answers.items()}
            answers |= moved

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self):
                status, headers, body = answers.get(self.path.partition("?")[0], _NOT_FOUND)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(body)

            do_HEAD = do_GET

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            # The default of 5 would turn a burst of connections into retries a second later.
            request_queue_size = 128

        self._server = Server(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self):
        self._server.shutdown()
        self._server.server_close()


_NOT_FOUND = (404, {"Content-Type": "application/json"}, b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"not here"}]}')


def _answers():
    """Every path that the corpus has, with its answer."""
    answers = {"/v2/": (200, {"Content-Type": "application/json"}, b"{}")}
    for name, held in json.loads((FIXTURES / "registry.json").read_text())["repositories"].items():
        base = f"/v2/{name}"
        referrers = {}
        for digest, entry in held["manifests"].items():
            body = content(digest)
            if body is None:
                continue
            answer = (200, {"Content-Type": entry["mediaType"], "Docker-Content-Digest": digest}, body)
            answers[f"{base}/manifests/{digest}"] = answer
            for tag in (tag for tag, target in held["tags"].items() if target == digest):
                answers[f"{base}/manifests/{tag}"] = answer
            subject, descriptor = _referrer(digest, entry, body)
            referrers.setdefault(subject, []).append(descriptor)
        for digest in held["blobs"]:
            if (body := content(digest)) is not None:
                answers[f"{base}/blobs/{digest}"] = (200, {"Content-Type": "application/octet-stream"}, body)
        tags = json.dumps({"name": name, "tags": sorted(held["tags"])}).encode()
        answers[f"{base}/tags/list"] = (200, {"Content-Type": "application/json"}, tags)
        for digest in held["manifests"] if held.get("referrers_api") else ():
            found = {"schemaVersion": 2, "mediaType": INDEX, "manifests": referrers.get(digest, [])}
            answers[f"{base}/referrers/{digest}"] = (200, {"Content-Type": INDEX}, json.dumps(found).encode())
    return answers


def _referrer(digest, entry, body):
    """What a manifest refers to as its subject, and the descriptor that the referrers API gives for it."""
    try:
        manifest = json.loads(body)
        subject = manifest.get("subject", {}).get("digest")
        artifact_type = manifest.get("artifactType") or manifest.get("config", {}).get("mediaType")
    except (ValueError, AttributeError):
        # Deliberately broken manifests are part of the corpus.
        return None, None
    descriptor = {"mediaType": entry["mediaType"], "digest": digest, "size": entry["size"]}
    if artifact_type:
        descriptor["artifactType"] = artifact_type
    if manifest.get("annotations"):
        descriptor["annotations"] = manifest["annotations"]
    return subject, descriptor
