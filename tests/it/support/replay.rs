//! Attacks of the corpus, made with real cosign, replayed on a proxy of their own.

use std::path::Path;

use serde_json::{Value, json};

use super::client::Answer;
use super::configuration::Configuration;
use super::corpus::{self, Case, cases, directory};
use super::image::{Image, OCI_MANIFEST, sha256};
use super::proxy::Proxy;
use super::registry::FakeRegistry;
use super::signing::{SIGN_PREDICATE, bundle_artifact, legacy_manifest};
use super::{assert_denied, assert_withheld};

/// Some cases of the corpus, with the registry that holds them and a proxy with their policies.
#[derive(Debug)]
pub(crate) struct Replay {
    pub(crate) proxy: Proxy,
    registry: FakeRegistry,
    cases: Vec<Case>,
}

impl Replay {
    pub(crate) async fn of(ids: &[&str]) -> Self {
        Self::with(ids, |configuration| configuration).await
    }

    /// The same, with changes to the configuration.
    pub(crate) async fn with(
        ids: &[&str],
        change: impl FnOnce(Configuration) -> Configuration,
    ) -> Self {
        let cases: Vec<Case> = ids.iter().map(|id| case(id)).collect();
        let registry = corpus::registry().await;
        let configuration = change(corpus::configuration(&cases, &registry));
        let proxy = Proxy::start(configuration).await;
        Self {
            proxy,
            registry,
            cases,
        }
    }

    /// The canonical name of the repository of a case.
    pub(crate) fn repository(&self, id: &str) -> String {
        let case = self.cases.iter().find(|case| case.id == id).unwrap();
        format!("{}/c/{id}/{}", self.registry.name(), case.repository)
    }

    /// What the last step of a case is answered, all others taken before.
    pub(crate) async fn answer(&self, id: &str) -> Answer {
        let case = self.cases.iter().find(|case| case.id == id).unwrap();
        let mut last = None;
        for step in &case.steps {
            let repository = step.repository.as_ref().unwrap_or(&case.repository);
            let endpoint = step.endpoint.as_deref().unwrap_or("manifests");
            let path = format!(
                "/v2/{}/c/{id}/{repository}/{endpoint}/{}",
                self.registry.name(),
                step.reference
            );
            last = Some(self.proxy.get(&path).await);
        }
        last.unwrap()
    }

    /// The control: the same kind of signature, untouched, is admitted.
    pub(crate) async fn admits(&self, id: &str) {
        let answer = self.answer(id).await;
        assert_eq!(answer.status, 200, "{id}: {answer}");
    }

    /// The attack is refused for this reason.
    pub(crate) async fn refuses(&self, id: &str, kind: &str) {
        let answer = self.answer(id).await;
        eprintln!("{id}");
        assert_denied(&answer, kind);
    }
}

/// The control is admitted; each attack is refused for the reason beside it.
pub(crate) async fn replay(control: &str, attacks: &[(&str, &str)]) {
    let ids: Vec<&str> = std::iter::once(control)
        .chain(attacks.iter().map(|(id, _)| *id))
        .collect();
    let replay = Replay::of(&ids).await;
    replay.admits(control).await;
    for (id, kind) in attacks {
        replay.refuses(id, kind).await;
    }
}

fn case(id: &str) -> Case {
    let mut found = cases();
    found.retain(|case| case.id == id);
    assert_eq!(found.len(), 1, "one case {id}");
    found.remove(0)
}

/// The image of an admitted case in a registry without signatures, and what signed it there, to be altered.
#[derive(Debug)]
pub(crate) struct Workbench {
    pub(crate) proxy: Proxy,
    pub(crate) registry: FakeRegistry,
    pub(crate) subject: Image,
    name: String,
}

impl Workbench {
    pub(crate) async fn of(id: &str) -> Self {
        Self::with(id, |_root| (), |configuration| configuration).await
    }

    /// The same, with changes to the trusted root of the case.
    pub(crate) async fn with_root(id: &str, change: impl FnOnce(&mut Value)) -> Self {
        Self::with(id, change, |configuration| configuration).await
    }

    /// The same, with changes to the trusted root and the configuration.
    pub(crate) async fn with(
        id: &str,
        change_root: impl FnOnce(&mut Value),
        change: impl FnOnce(Configuration) -> Configuration,
    ) -> Self {
        let case = case(id);
        let registry = FakeRegistry::start().await;
        let mut configuration = corpus::configuration(std::slice::from_ref(&case), &registry);
        let mut root = Value::Null;
        if let Some(entries) = configuration.0["trusted_roots"].as_object_mut() {
            for entry in entries.values_mut() {
                let text = std::fs::read(entry["file"].as_str().unwrap()).unwrap();
                root = serde_json::from_slice(&text).unwrap();
                *entry = json!({"file": "altered_root.json"});
            }
        }
        change_root(&mut root);
        let proxy = Proxy::new(change(configuration));
        proxy.write_file("altered_root.json", &root.to_string());
        proxy.run().await;
        let name = format!("c/{id}/{}", case.repository);
        let subject = Image::raw(OCI_MANIFEST, object(&case.reference));
        registry.push(&name, &subject);
        Self {
            proxy,
            registry,
            subject,
            name,
        }
    }

    /// The bundle that refers to the image in the corpus.
    pub(crate) fn bundle(&self) -> Value {
        let listed = self.listed();
        let manifests = listed["manifests"].as_object().unwrap().keys();
        let text = manifests
            .filter_map(|digest| serde_json::from_slice::<Value>(&object(digest)).ok())
            .find(|manifest| {
                manifest["subject"]["digest"] == *self.subject.digest
                    && manifest["layers"][0]["mediaType"]
                        .as_str()
                        .is_some_and(|kind| kind.contains("sigstore.bundle"))
            })
            .map(|manifest| object(manifest["layers"][0]["digest"].as_str().unwrap()));
        serde_json::from_slice(&text.unwrap()).unwrap()
    }

    /// Attaches a bundle to the image.
    pub(crate) fn attach(&self, bundle: &Value) {
        let bundle = bundle.to_string().into_bytes();
        let artifact = bundle_artifact(&self.subject, bundle, SIGN_PREDICATE);
        self.registry.push(&self.name, &artifact);
    }

    /// The first layer of the legacy signature of the image in the corpus, and its payload.
    pub(crate) fn layer(&self) -> (Value, Vec<u8>) {
        let listed = self.listed();
        let digest = listed["tags"][self.subject.cosign_tag("sig")].as_str();
        let manifest: Value = serde_json::from_slice(&object(digest.unwrap())).unwrap();
        let layer = manifest["layers"][0].clone();
        let payload = object(layer["digest"].as_str().unwrap());
        (layer, payload)
    }

    /// What the corpus lists in the repository of the case.
    fn listed(&self) -> Value {
        let text = std::fs::read(directory().join("registry.json")).unwrap();
        let all: Value = serde_json::from_slice(&text).unwrap();
        let repository = self.name.splitn(3, '/').nth(2).unwrap();
        all["repositories"][repository].clone()
    }

    /// Files these layers as the legacy signature of the image.
    pub(crate) fn file(&self, layers: &[Value], payloads: &[Vec<u8>]) {
        let signature = legacy_manifest(layers, payloads);
        let tag = self.subject.cosign_tag("sig");
        self.registry.push_tagged(&self.name, &tag, &signature);
    }

    pub(crate) async fn answer(&self) -> Answer {
        let path = format!(
            "/v2/{}/{}/manifests/{}",
            self.registry.name(),
            self.name,
            self.subject.digest
        );
        self.proxy.get(&path).await
    }

    pub(crate) async fn admits(&self) {
        let answer = self.answer().await;
        assert_eq!(answer.status, 200, "{answer}");
    }

    pub(crate) async fn refuses(&self, kind: &str) -> Answer {
        let answer = self.answer().await;
        assert_denied(&answer, kind);
        assert_withheld(&answer, &self.subject.digest);
        answer
    }
}

/// An object of the corpus.
pub(crate) fn object(digest: &str) -> Vec<u8> {
    let hex = digest.split_once(':').unwrap().1;
    let bytes = std::fs::read(directory().join(Path::new("blobs/sha256").join(hex))).unwrap();
    assert_eq!(sha256(&bytes), digest);
    bytes
}
