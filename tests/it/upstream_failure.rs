//! Each way in which an upstream fails, at each thing it is asked for: the answer of design §2, in time, nothing bad
//! kept, and everything well again afterwards.

use std::time::Duration;

use serde_json::json;

use crate::support::*;

/// The time for a decision, and a second.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(11);

/// What fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    ManifestByDigest,
    ManifestByTag,
    Blob,
    Referrers,
    CosignTag,
    ReferrersTag,
}

const TARGETS: [Target; 6] = [
    Target::ManifestByDigest,
    Target::ManifestByTag,
    Target::Blob,
    Target::Referrers,
    Target::CosignTag,
    Target::ReferrersTag,
];

/// What may be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// The right content.
    Served,
    /// 503 with `Retry-After`.
    Unavailable,
    /// 502.
    BadUpstream,
    /// 403 `upstream_denied`.
    UpstreamDenied,
    /// 404.
    NotFound,
    /// 403 for lack of a signature.
    Refused,
    /// 200, and then a connection that breaks before the end.
    Broken,
}

use Outcome::{BadUpstream, Broken, NotFound, Refused, Served, Unavailable, UpstreamDenied};

/// The outcomes allowed at a manifest by digest, a manifest by tag, a blob, and a source of signatures.
struct Row {
    name: &'static str,
    fault: Fault,
    by_digest: &'static [Outcome],
    by_tag: &'static [Outcome],
    blob: &'static [Outcome],
    source: &'static [Outcome],
}

#[rustfmt::skip]
fn rows() -> Vec<Row> {
    let row = |name, fault, by_digest, by_tag, blob, source| Row { name, fault, by_digest, by_tag, blob, source };
    let down = |name, fault| {
        let unavailable: &[Outcome] = &[Unavailable];
        row(name, fault, unavailable, unavailable, unavailable, unavailable)
    };
    vec![
        row("401", Fault::Status(401), &[UpstreamDenied], &[UpstreamDenied], &[UpstreamDenied], &[Unavailable]),
        row("403", Fault::Status(403), &[UpstreamDenied], &[UpstreamDenied], &[UpstreamDenied], &[Unavailable]),
        row("404", Fault::Status(404), &[NotFound], &[NotFound], &[NotFound], &[Refused]),
        down("429", Fault::Throttled(1)),
        down("500", Fault::Status(500)),
        down("503", Fault::Status(503)),
        down("hang", Fault::Hang),
        down("reset", Fault::Reset),
        row("late", Fault::Delay(Duration::from_millis(800)), &[Served], &[Served], &[Served], &[Served]),
        // A blob may be slow; a manifest has the time of a decision.
        row("slow", Fault::Trickle(40, Duration::from_secs(2)),
            &[Unavailable], &[Unavailable], &[Served], &[Unavailable]),
        // Cut off, a blob is asked for again from there; a manifest has not the size announced.
        row("truncate", Fault::Truncate(30),
            &[BadUpstream], &[BadUpstream], &[BadUpstream, Broken, Served], &[Unavailable]),
        // By tag, nothing says what the bytes should be but a header that is itself the upstream's.
        row("wrong bytes", Fault::WrongBytes,
            &[BadUpstream], &[BadUpstream, Refused], &[BadUpstream, Broken], &[Unavailable, Refused]),
        // A type that says nothing about a manifest does not count: the document says itself what it is.
        row("wrong type", Fault::ContentType("text/html"),
            &[Served], &[Served], &[Served], &[Served, Unavailable, Refused]),
        row("endless", Fault::Endless,
            &[BadUpstream], &[BadUpstream], &[BadUpstream, Broken], &[Unavailable, Refused]),
    ]
}

/// One fault at one target, with a registry of its own, so that nothing else is held up.
struct Cell {
    row: Row,
    target: Target,
    registry: FakeRegistry,
    image: Image,
}

impl Cell {
    async fn new(row: Row, target: Target, key: &SigningKey) -> Self {
        let registry = FakeRegistry::start().await;
        let image = Image::with_layers(row.name, &[image::noise(row.name, 120)]);
        registry.push_tagged("apps/web", "v1", &image);
        match target {
            Target::Referrers => registry.sign_bundle("apps/web", &image, key),
            Target::ReferrersTag => registry.sign_bundle_by_tag("apps/web", &image, key),
            Target::ManifestByDigest | Target::ManifestByTag | Target::Blob | Target::CosignTag => {
                registry.sign_legacy("apps/web", &image, key)
            }
        };
        Self {
            row,
            target,
            registry,
            image,
        }
    }

    /// The requests that fail.
    fn expression(&self) -> String {
        let rest = match self.target {
            // A tag may be resolved and then fetched by its digest.
            Target::ManifestByDigest => format!("manifests/{}", self.image.digest),
            Target::ManifestByTag => "manifests/v1".to_owned(),
            Target::Blob => format!("blobs/{}", self.image.layer(0)),
            Target::Referrers => format!("referrers/{}", self.image.digest),
            Target::CosignTag => format!("manifests/{}", self.image.cosign_tag("sig")),
            Target::ReferrersTag => format!("manifests/{}", self.image.referrers_tag()),
        };
        format!("/v2/apps/web/{}($|\\?)", regex::escape(&rest))
    }

    fn path(&self) -> String {
        let rest = match self.target {
            Target::ManifestByTag => "manifests/v1".to_owned(),
            Target::Blob => format!("blobs/{}", self.image.layer(0)),
            Target::ManifestByDigest
            | Target::Referrers
            | Target::CosignTag
            | Target::ReferrersTag => format!("manifests/{}", self.image.digest),
        };
        format!("/v2/{}/apps/web/{rest}", self.registry.name())
    }

    fn allowed(&self) -> &'static [Outcome] {
        match self.target {
            Target::ManifestByDigest => self.row.by_digest,
            Target::ManifestByTag => self.row.by_tag,
            Target::Blob => self.row.blob,
            Target::Referrers | Target::CosignTag | Target::ReferrersTag => self.row.source,
        }
    }

    /// Runs it and says everything that was wrong.
    async fn run(&self, proxy: &Proxy) -> Vec<String> {
        let mut problems = Vec::new();
        if self.target == Target::Blob {
            let path = format!(
                "/v2/{}/apps/web/manifests/{}",
                self.registry.name(),
                self.image.digest
            );
            let answer = proxy.get(&path).await;
            if answer.status != 200 {
                return vec![self.named(&format!("before the fault: {answer}"))];
            }
        }
        self.registry
            .fault(&self.expression(), self.row.fault.clone());
        let answer = proxy.get(&self.path()).await;
        let outcome = self.outcome(&answer);
        if !outcome.is_some_and(|outcome| self.allowed().contains(&outcome)) {
            problems.push(self.named(&format!("expected {:?}, got {answer}", self.allowed())));
        }
        // A body that arrives slowly is no answer that is late.
        let is_slow_body = self.target == Target::Blob && answer.status == 200;
        if !is_slow_body && answer.elapsed > ANSWER_TIME_MAX {
            problems.push(self.named(&format!("took {:?}", answer.elapsed)));
        }
        if self.target != Target::Blob {
            let head = proxy.head(&self.path()).await;
            let is_same = head.status == answer.status || outcome == Some(Unavailable);
            if !is_same || (head.status == 200 && outcome != Some(Served)) {
                problems.push(self.named(&format!(
                    "GET answered {}, HEAD {}",
                    answer.status, head.status
                )));
            }
        }
        self.registry.lift_faults();
        // A refusal for lack of a signature is remembered for half a minute.
        if outcome != Some(Refused)
            && let Err(problem) = self.recovers(proxy).await
        {
            problems.push(self.named(&problem));
        }
        problems
    }

    async fn recovers(&self, proxy: &Proxy) -> Result<(), String> {
        let mut last = None;
        for _ in 0..25 {
            let answer = proxy.get(&self.path()).await;
            if self.outcome(&answer) == Some(Served) {
                return Ok(());
            }
            last = Some(answer);
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        Err(format!("after the fault: {}", last.unwrap()))
    }

    fn named(&self, problem: &str) -> String {
        format!("{} at {:?}: {problem}", self.row.name, self.target)
    }

    /// What the answer amounts to; `None` when it is none of the documented ones.
    fn outcome(&self, answer: &Answer) -> Option<Outcome> {
        let wanted = if self.target == Target::Blob {
            self.image.layer(0)
        } else {
            self.image.digest.clone()
        };
        let error = serde_json::from_slice::<serde_json::Value>(&answer.body).unwrap_or_default();
        let error = &error["errors"][0];
        match (answer.status, error["code"].as_str()) {
            (200, _) if answer.broken.is_some() => Some(Broken),
            (200, _) if answer.digest() == wanted => Some(Served),
            (502, Some(_)) => Some(BadUpstream),
            (503, Some("UNAVAILABLE")) => {
                let is_dated = answer.header("retry-after").parse::<u64>().is_ok();
                is_dated.then_some(Unavailable)
            }
            (404, Some("MANIFEST_UNKNOWN" | "BLOB_UNKNOWN" | "NAME_UNKNOWN")) => Some(NotFound),
            (403, Some("DENIED")) => match error["detail"]["kind"].as_str()? {
                "upstream_denied" => Some(UpstreamDenied),
                "unsigned" | "malformed" | "limit_exceeded" | "untrusted_key" => Some(Refused),
                _ => None,
            },
            _ => None,
        }
    }
}

/// All faults at these targets, at the same time, through one proxy.
async fn run(targets: &[Target]) {
    let key = SigningKey::generate();
    let mut cells = Vec::new();
    for target in targets {
        for row in rows() {
            cells.push(Cell::new(row, *target, &key).await);
        }
    }
    let registries: Vec<&FakeRegistry> = cells.iter().map(|cell| &cell.registry).collect();
    let mut policy = key_policy("apps", "", &[&key]);
    policy["images"] = registries
        .iter()
        .map(|registry| format!("{}/apps/**", registry.name()))
        .collect();
    let configuration = Configuration::new(&registries)
        .policy(policy)
        .set("freshness", json!({"absent_ttl": 0}));
    let proxy = Proxy::start(configuration).await;
    let problems = together(cells.iter().map(|cell| cell.run(&proxy)))
        .await
        .concat();
    proxy.assert_content_is_right();
    assert!(
        problems.is_empty(),
        "{} problems:\n{}",
        problems.len(),
        problems.join("\n")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_manifests() {
    run(&TARGETS[..2]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_blobs() {
    run(&TARGETS[2..3]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_sources_of_signatures() {
    run(&TARGETS[3..]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_that_fails_hides_no_signature_in_another() {
    let scene = Scene::start().await;
    for (name, fault) in [
        ("apps/down", Fault::Status(500)),
        ("apps/refused", Fault::Status(403)),
    ] {
        let image = scene.signed(name, "v1");
        scene
            .registry
            .fault(&format!("/v2/{name}/referrers/"), fault);
        assert_serves(&scene.manifest(name, &image.digest).await, &image);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signature_blobs_that_cannot_be_read_leave_it_open() {
    let scene = Scene::start().await;
    for (name, fault) in [
        ("apps/down", Fault::Status(500)),
        ("apps/reset", Fault::Reset),
        ("apps/refused", Fault::Status(403)),
    ] {
        let legacy = scene.unsigned(name, "legacy");
        let signature = scene.registry.sign_legacy(name, &legacy, &scene.key);
        let bundled = scene.unsigned(name, "bundled");
        let bundle = scene.registry.sign_bundle(name, &bundled, &scene.key);
        for (image, artifact) in [(&legacy, &signature), (&bundled, &bundle)] {
            scene.registry.fault(
                &format!("/v2/{name}/blobs/{}", sha256(&artifact.blobs[1])),
                fault.clone(),
            );
            assert_unavailable(&scene.manifest(name, &image.digest).await);
        }
        scene.registry.lift_faults();
        assert_serves(&scene.manifest_soon(name, "legacy").await, &legacy);
        assert_serves(&scene.manifest_soon(name, "bundled").await, &bundled);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_failure_in_passing_is_not_seen_by_the_client() {
    let scene = Scene::start().await;
    for (name, fault) in [
        ("apps/once", Fault::Status(503)),
        ("apps/reset", Fault::Reset),
    ] {
        let image = scene.signed(name, "v1");
        scene.registry.fault_times(
            &format!("/v2/{name}/manifests/{}", image.digest),
            1,
            fault.clone(),
        );
        assert_serves(&scene.manifest(name, &image.digest).await, &image);
        scene
            .registry
            .fault_times(&format!("/v2/{name}/blobs/{}", image.layer(0)), 1, fault);
        let answer = scene.blob(name, &image.layer(0)).await;
        assert_serves_blob(&answer, &image.layer(0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stalled_transfer_is_resumed_where_it_stopped() {
    let scene = Scene::start().await;
    let image = Image::large("stalls", 1_000_000);
    scene.push_signed("apps/web", "v1", &image);
    assert_serves(&scene.manifest("apps/web", "v1").await, &image);
    for (fault, number) in [
        (Fault::StallAfter(400_000), 0),
        (Fault::Truncate(400_000), 1),
    ] {
        let image = Image::large(&format!("stalls {number}"), 1_000_000);
        scene.push_signed("apps/web", &format!("s{number}"), &image);
        assert_serves(&scene.manifest("apps/web", &image.digest).await, &image);
        let digest = image.layer(0);
        scene
            .registry
            .fault_times(&format!("^GET .*/blobs/{digest}"), 1, fault);
        assert_serves_blob(&scene.blob("apps/web", &digest).await, &digest);
        let ranges: Vec<String> = scene
            .registry
            .requests()
            .iter()
            .filter(|request| request.method == "GET" && request.path.contains(&digest))
            .filter_map(|request| Some(request.headers.get("range")?.to_str().ok()?.to_owned()))
            .collect();
        assert!(!ranges.is_empty(), "resumed with a range");
    }
}
