//! A registry that holds what it is given, does as it is told, and remembers what it was asked.

mod fault;
mod paging;
mod serve;
mod tokens;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::HeaderMap;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(crate) use fault::Fault;
pub(crate) use paging::{Paging, PagingBy};
pub(crate) use tokens::TokenRules;

use super::image::{Image, OCI_INDEX, sha256};
use super::ports::free_port;
use super::signing::{SigningKey, legacy_manifest};
use fault::Rule;

/// A registry on a port of its own. It ends with the test.
#[derive(Debug)]
pub(crate) struct FakeRegistry {
    port: u16,
    shared: Arc<Shared>,
    running: Mutex<CancellationToken>,
}

/// What the connections share.
#[derive(Debug)]
struct Shared {
    repositories: Mutex<HashMap<String, Repository>>,
    rules: Mutex<Vec<Rule>>,
    requests: Mutex<Vec<Recorded>>,
    latency: Mutex<Duration>,
    tokens: Option<Tokens>,
    own_tokens: Mutex<tokens::Tokens>,
    /// Leading components of a repository name that do not count (`c/<case id>` in the corpus).
    ignored_components: usize,
}

/// How clients get tokens.
#[derive(Debug, Clone)]
struct Tokens {
    realm_port: u16,
    token: String,
}

/// One repository.
#[derive(Debug, Clone, Default)]
pub(crate) struct Repository {
    pub(crate) tags: BTreeMap<String, String>,
    /// Media type and bytes by digest.
    pub(crate) manifests: BTreeMap<String, (String, Bytes)>,
    pub(crate) blobs: HashMap<String, Bytes>,
    pub(crate) has_referrers_api: bool,
    /// Tags that lead elsewhere at each request; they go before `tags`.
    pub(crate) alternating: BTreeMap<String, Alternating>,
    /// How lists are paged; by `n` and `last` if absent.
    pub(crate) paging: Option<Paging>,
}

/// Digests of which a request gets one, by a seeded sequence.
#[derive(Debug, Clone)]
pub(crate) struct Alternating {
    digests: Vec<String>,
    seed: u64,
    drawn: Arc<AtomicU64>,
}

impl Alternating {
    fn draw(&self) -> &str {
        let drawn = self.drawn.fetch_add(1, Ordering::Relaxed);
        &self.digests[below(self.seed ^ drawn, self.digests.len())]
    }
}

/// A number below `count` that is as good as random (`SplitMix64`).
pub(crate) fn below(seed: u64, count: usize) -> usize {
    let mut mixed = seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    usize::try_from((mixed ^ (mixed >> 31)) % count as u64).unwrap()
}

/// A request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Recorded {
    pub(crate) method: String,
    /// Path and query.
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) at: Instant,
}

impl FakeRegistry {
    pub(crate) async fn start() -> Self {
        Self::start_with(HashMap::new(), 0, None).await
    }

    /// A registry that wants a Bearer token, and the service that gives it out.
    pub(crate) async fn start_with_tokens() -> (Self, Self) {
        let service = Self::start().await;
        let tokens = Tokens {
            realm_port: service.port,
            token: format!("token-of-{}", service.port),
        };
        let registry = Self::start_with(HashMap::new(), 0, Some(tokens)).await;
        (registry, service)
    }

    /// A registry that already holds something.
    pub(crate) async fn start_holding(
        repositories: HashMap<String, Repository>,
        ignored_components: usize,
    ) -> Self {
        Self::start_with(repositories, ignored_components, None).await
    }

    async fn start_with(
        repositories: HashMap<String, Repository>,
        ignored_components: usize,
        tokens: Option<Tokens>,
    ) -> Self {
        let registry = Self {
            port: free_port(),
            shared: Arc::new(Shared {
                repositories: Mutex::new(repositories),
                rules: Mutex::default(),
                requests: Mutex::default(),
                latency: Mutex::new(Duration::ZERO),
                tokens,
                own_tokens: Mutex::default(),
                ignored_components,
            }),
            running: Mutex::new(CancellationToken::new()),
        };
        registry.resume().await;
        registry
    }

    /// Its name as an upstream.
    pub(crate) fn name(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Closes the listener and every connection: connections are refused from now on.
    pub(crate) fn stop(&self) {
        self.running.lock().unwrap().cancel();
    }

    /// Listens again, on the same port.
    pub(crate) async fn resume(&self) {
        let token = CancellationToken::new();
        *self.running.lock().unwrap() = token.clone();
        let listener = serve::bind(self.port).await;
        TaskTracker::new().spawn(serve::serve(listener, Arc::clone(&self.shared), token));
    }

    /// Lets every request wait, as a wide-area network does.
    pub(crate) fn set_latency(&self, latency: Duration) {
        *self.shared.latency.lock().unwrap() = latency;
    }

    // What it holds.

    fn with<T>(&self, repository: &str, change: impl FnOnce(&mut Repository) -> T) -> T {
        let mut repositories = self.shared.repositories.lock().unwrap();
        change(
            repositories
                .entry(repository.to_owned())
                .or_insert_with(|| Repository {
                    has_referrers_api: true,
                    ..Repository::default()
                }),
        )
    }

    /// Stores a manifest and its blobs.
    pub(crate) fn push(&self, repository: &str, image: &Image) {
        self.with(repository, |repository| {
            repository.manifests.insert(
                image.digest.clone(),
                (image.media_type.clone(), image.bytes.clone()),
            );
            for blob in &image.blobs {
                repository.blobs.insert(sha256(blob), blob.clone());
            }
        });
    }

    /// Stores a manifest, its blobs, and a tag for it.
    pub(crate) fn push_tagged(&self, repository: &str, tag: &str, image: &Image) {
        self.push(repository, image);
        self.tag(repository, tag, &image.digest);
    }

    pub(crate) fn tag(&self, repository: &str, tag: &str, digest: &str) {
        self.with(repository, |repository| {
            repository.tags.insert(tag.to_owned(), digest.to_owned())
        });
    }

    /// The digest that a tag leads to.
    pub(crate) fn resolve(&self, repository: &str, tag: &str) -> String {
        self.with(repository, |repository| repository.tags[tag].clone())
    }

    /// Lets a tag lead to one of these at each request.
    pub(crate) fn alternate(&self, repository: &str, tag: &str, digests: &[&str], seed: u64) {
        let alternating = Alternating {
            digests: digests.iter().map(|digest| (*digest).to_owned()).collect(),
            seed,
            drawn: Arc::default(),
        };
        self.with(repository, |repository| {
            repository.alternating.insert(tag.to_owned(), alternating)
        });
    }

    pub(crate) fn put_blob(&self, repository: &str, bytes: &Bytes) {
        self.with(repository, |repository| {
            repository.blobs.insert(sha256(bytes), bytes.clone())
        });
    }

    pub(crate) fn remove_blob(&self, repository: &str, digest: &str) {
        self.with(repository, |repository| repository.blobs.remove(digest));
    }

    pub(crate) fn set_referrers_api(&self, repository: &str, present: bool) {
        self.with(repository, |repository| {
            repository.has_referrers_api = present;
        });
    }

    /// Pages tags and referrers like this from now on.
    pub(crate) fn set_paging(&self, repository: &str, paging: Paging) {
        self.with(repository, |repository| {
            repository.paging = Some(paging);
        });
    }

    /// Signs `image` as cosign 2 does, under its `.sig` tag.
    pub(crate) fn sign_legacy(&self, repository: &str, image: &Image, key: &SigningKey) -> Image {
        let signature = key.legacy_signature(&image.digest);
        self.push_tagged(repository, &image.cosign_tag("sig"), &signature);
        signature
    }

    /// Signs `image` as cosign 2 does when it is told names for it, and under no other name any more.
    pub(crate) fn sign_legacy_as(
        &self,
        repository: &str,
        image: &Image,
        key: &SigningKey,
        names: &[String],
    ) {
        let signed = names
            .iter()
            .map(|name| key.simple_signing_as(name, &image.digest));
        let (layers, payloads): (Vec<_>, Vec<_>) = signed.unzip();
        let signature = legacy_manifest(&layers, &payloads);
        self.push_tagged(repository, &image.cosign_tag("sig"), &signature);
    }

    /// Signs `image` as cosign 3 does, with a bundle that the referrers API lists.
    pub(crate) fn sign_bundle(&self, repository: &str, image: &Image, key: &SigningKey) -> Image {
        let signature = key.bundle_signature(image);
        self.push(repository, &signature);
        signature
    }

    /// Signs `image` as cosign 3 does where there is no referrers API: an index under the referrers tag lists it.
    pub(crate) fn sign_bundle_by_tag(
        &self,
        repository: &str,
        image: &Image,
        key: &SigningKey,
    ) -> Image {
        self.set_referrers_api(repository, false);
        let signature = self.sign_bundle(repository, image, key);
        let index = json!({
            "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [signature.descriptor()],
        });
        let index = Image::raw(OCI_INDEX, index.to_string());
        self.push_tagged(repository, &image.referrers_tag(), &index);
        signature
    }

    /// Hands out tokens at its own `/token`, and takes no others from now on.
    pub(crate) fn demand_tokens(&self, rules: TokenRules) {
        self.shared.own_tokens.lock().unwrap().demand(rules);
    }

    /// Takes none of the tokens any more that it has handed out.
    pub(crate) fn withdraw_tokens(&self) {
        self.shared.own_tokens.lock().unwrap().withdraw();
    }

    // What it does wrong.

    /// From now on, requests whose `METHOD path` matches the expression end like this. An expression that begins with
    /// `^HEAD` or `^GET` makes the two differ.
    pub(crate) fn fault(&self, expression: &str, fault: Fault) {
        self.add_rule(expression, fault, usize::MAX);
    }

    /// The `Range` of every `GET` whose path contains `part`, in order; empty where there is none.
    pub(crate) fn ranges(&self, part: &str) -> Vec<String> {
        let requests = self.requests().into_iter();
        requests
            .filter(|request| request.method == "GET" && request.path.contains(part))
            .map(|request| match request.headers.get("range") {
                Some(range) => range.to_str().unwrap().to_owned(),
                None => String::new(),
            })
            .collect()
    }

    /// The next `count` requests that match end like this.
    pub(crate) fn fault_times(&self, expression: &str, count: usize, fault: Fault) {
        self.add_rule(expression, fault, count);
    }

    fn add_rule(&self, expression: &str, fault: Fault, count: usize) {
        let rule = Rule::new(expression, fault, count);
        self.shared.rules.lock().unwrap().push(rule);
    }

    /// Everything works again.
    pub(crate) fn lift_faults(&self) {
        self.shared.rules.lock().unwrap().clear();
    }

    // What it was asked.

    pub(crate) fn requests(&self) -> Vec<Recorded> {
        self.shared.requests.lock().unwrap().clone()
    }

    pub(crate) fn forget_requests(&self) {
        self.shared.requests.lock().unwrap().clear();
    }

    /// How many requests matched the expression over `METHOD path`.
    pub(crate) fn count(&self, expression: &str) -> usize {
        let expression = regex::Regex::new(expression).unwrap();
        self.requests()
            .iter()
            .filter(|request| expression.is_match(&request.line()))
            .count()
    }
}

impl Recorded {
    /// Method and path.
    pub(crate) fn line(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

impl Drop for FakeRegistry {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Repository {
    /// The referrers of `digest` as the API lists them.
    fn referrers(&self, digest: &str) -> Vec<Value> {
        let mut found = Vec::new();
        for (candidate, (media_type, bytes)) in &self.manifests {
            // No registry takes these in, and parsing them would delay every other answer.
            if bytes.len() > 8 * 1024 * 1024 {
                continue;
            }
            let Ok(manifest) = serde_json::from_slice::<Value>(bytes) else {
                continue;
            };
            if manifest["subject"]["digest"].as_str() != Some(digest) {
                continue;
            }
            let artifact_type = match manifest["artifactType"].as_str() {
                Some(artifact_type) => json!(artifact_type),
                None => manifest["config"]["mediaType"].clone(),
            };
            let mut listed = json!({
                "mediaType": media_type, "digest": candidate, "size": bytes.len(),
                "artifactType": artifact_type,
            });
            if manifest["annotations"].is_object() {
                listed["annotations"] = manifest["annotations"].clone();
            }
            found.push(listed);
        }
        found
    }
}
