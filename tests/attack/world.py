"""The stage of an attack: two honest registries, the attacker's own, and the proxy before them."""

import registry
from proxy import Proxy

COLD_IMAGES = 300
DELAY_SECONDS = 0.03
STORE_BYTES_MAX = 256 * 2**20
ATTESTED = "https://example.com/attack/v1"

# Passwords of test users; the hashes have cost 10.
ALICE = "alice", "correct horse test"
HTPASSWD = ("alice:$2b$10$uy8YNGcj7tAqGthRrBl9y.cFKn8sjBPFcBoXN.GLFolvGNfXyXnSS\n"
            + "".join(f"user{n}:$2b$10$KC89Uj.17SwvtA5JjFQEF.9icKgOw6AEXleNVlKfLjAGOAlQThbyi\n" for n in range(50)))
USERS_PASSWORD = "another test password"
SECRET = b"bytes of a private layer " * 40_000
CONDITIONS = {
    "membership": "predicate.items.all(item, item.name in predicate.allowed)",
    "patterns": "predicate.items.all(item, !item.name.matches(predicate.pattern))",
    "search": "predicate.items.all(item, !predicate.text.contains(item.name))",
    "small": "predicate.items.all(a, predicate.items.all(b, a + b >= 0))",
}


class World:
    def __init__(self, attacks, environment=None, standard_error=None):
        self.good, self.private, self.evil = registry.Registry(DELAY_SECONDS), registry.Registry(), registry.Registry()
        self.warm_layer = bytes(2**20)
        self.good.signed_image("team/app", "warm", layers=(self.warm_layer,))
        for number in range(COLD_IMAGES):
            self.good.signed_image("team/app", f"cold{number}", layers=(b"layer %d" % number,))
        self.good.signed_image("team/moving", "old")
        self.good.manifests["team/moving", "latest"] = self.good.manifests["team/moving", "old"]
        self.repaired = self.good.signed_image("team/moving", "repaired")
        self.secret = registry.sha256(SECRET)
        self.private.signed_image("vault/app", "v1", layers=(SECRET,))
        for attack in attacks:
            attack.prepare(self)
        for each in (self.good, self.private, self.evil):
            each.start()
        self.proxy = Proxy(self._configuration(), environment, standard_error)

    def _configuration(self):
        import tempfile
        users = tempfile.NamedTemporaryFile("w", prefix="countersign-test-users-", delete=False)
        with users:
            users.write(HTPASSWD)
        self._users = users.name
        def policy(name, upstream, images, **rest):
            authority = {"name": "key", "key": upstream.key.public, "transparency_log": "not_required"}
            return {"name": name, "images": [f"{upstream.host}/{images}"], **(rest or {"authorities": [authority]})}
        def attested(name, condition):
            authority = {"name": "key", "key": self.evil.key.public, "transparency_log": "not_required"}
            return policy(f"attested-{name}", self.evil, f"attested/{name}",
                          attestations=[{"predicate_type": ATTESTED, "condition": condition, "authorities": [authority]}])
        return {
            "upstreams": {each.host: {"plain_http": True} for each in (self.good, self.private, self.evil)},
            "policies": [policy("good", self.good, "**"), policy("private", self.private, "**"),
                         policy("evil", self.evil, "signed/**"),
                         *(attested(name, condition) for name, condition in CONDITIONS.items())],
            "clients": [{"basic": {"htpasswd": self._users}, "images": [f"{self.private.host}/**"]},
                        {"anonymous": True, "images": [f"{self.good.host}/**", f"{self.evil.host}/**"]}],
            "freshness": {"tag_ttl": "2s"},
            "limits": {"store_bytes_max": STORE_BYTES_MAX},
        }

    def good_path(self, tag, repository="team/app"):
        return f"/v2/{self.good.host}/{repository}/manifests/{tag}"

    def evil_path(self, repository, reference, kind="manifests"):
        return f"/v2/{self.evil.host}/{repository}/{kind}/{reference}"

    def private_path(self, reference, kind="manifests"):
        return f"/v2/{self.private.host}/vault/app/{kind}/{reference}"

    def stop(self):
        import os
        self.proxy.stop()
        os.unlink(self._users)
        for each in (self.good, self.private, self.evil):
            each.stop()
