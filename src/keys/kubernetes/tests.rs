//! Reading secrets, against a server that speaks the protocol of the API server.

use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::keys::tests::{Asked, Reply, Server, ec_p256, ed25519};

const PATH: &str = "GET /api/v1/namespaces/team-a/secrets/cosign.key";

struct Bench {
    server: Server,
    directory: TempDir,
}

fn reference() -> Reference {
    "k8s://team-a/cosign.key".parse().unwrap()
}

fn secret(data: &Value) -> Reply {
    Reply::Json(
        200,
        json!({"kind": "Secret", "apiVersion": "v1", "type": "Opaque",
            "metadata": {"name": "cosign.key", "namespace": "team-a", "uid": "1"}, "data": data}),
    )
}

fn encode(text: &str) -> String {
    BASE64_STANDARD.encode(text)
}

impl Bench {
    async fn new(answer: impl Fn(&Asked) -> Reply + Clone + Send + Sync + 'static) -> Self {
        let bench = Self {
            server: Server::start(answer).await,
            directory: tempfile::tempdir().unwrap(),
        };
        bench.write("token", "first\n");
        bench
    }

    async fn with(data: Value) -> Self {
        Self::new(move |_asked| secret(&data)).await
    }

    fn write(&self, name: &str, content: &str) {
        std::fs::write(self.directory.path().join(name), content).unwrap();
    }

    fn service(&self) -> Secrets {
        let cluster = Cluster {
            endpoint: Some(self.server.url.clone()),
            token_file: self.directory.path().join("token"),
            certificates_file: self.directory.path().join("ca.crt"),
        };
        Secrets::new(None, cluster).unwrap()
    }

    async fn fetch(&self) -> Result<Vec<KeyVersion>, Error> {
        fetch(&self.service()).await
    }
}

async fn fetch(service: &Secrets) -> Result<Vec<KeyVersion>, Error> {
    let deadline = Instant::now() + Duration::from_secs(5);
    service.fetch(&reference(), deadline).await
}

#[tokio::test]
async fn the_public_key_is_read_with_the_token_of_now() {
    let pem = ec_p256();
    let data = json!({"cosign.pub": encode(&pem), "cosign.key": encode("private")});
    let bench = Bench::with(data).await;
    let service = bench.service();
    let found = fetch(&service).await.unwrap();
    assert_eq!(found.len(), 1);
    let expected = PublicKey::from_pem(&pem).unwrap().fingerprint;
    assert_eq!(found[0].key.fingerprint, expected);
    bench.write("token", "second");
    fetch(&service).await.unwrap();
    let asked = bench.server.take();
    assert_eq!(asked[0].line, PATH);
    assert_eq!(asked[0].header("authorization"), "Bearer first");
    assert_eq!(asked[1].header("authorization"), "Bearer second");
}

#[tokio::test]
async fn every_key_in_the_secret_may_vouch() {
    let pems = [ec_p256(), ed25519(), ec_p256()];
    let text = format!("\n{}\n{}{}\n", pems[0], pems[1], pems[2]);
    let bench = Bench::with(json!({"cosign.pub": encode(&text)})).await;
    let found = bench.fetch().await.unwrap();
    let found: Vec<_> = found
        .into_iter()
        .map(|known| known.key.fingerprint)
        .collect();
    let expected: Vec<_> = pems
        .iter()
        .map(|pem| PublicKey::from_pem(pem).unwrap().fingerprint)
        .collect();
    assert_eq!(found, expected);
}

#[tokio::test]
async fn what_is_no_key_is_refused() {
    let pem = ec_p256();
    for (data, said) in [
        (json!({}), "no `cosign.pub`"),
        (json!({"cosign.pub": ""}), "empty"),
        (json!({"cosign.pub": "%"}), "base64"),
        (json!({"cosign.pub": encode("text")}), "cannot be used"),
        (
            json!({"cosign.pub": encode(&format!("{pem}text"))}),
            "cannot be used",
        ),
        (
            json!({"cosign.pub": encode(&pem.repeat(17))}),
            "more than 16",
        ),
        (json!({"cosign.pub": 1}), "not a secret"),
    ] {
        let error = Bench::with(data).await.fetch().await.unwrap_err();
        assert!(matches!(error, Error::Malformed { .. }), "{error}");
        assert!(error.to_string().contains(said), "{error}");
    }
}

#[tokio::test]
async fn another_secret_is_refused() {
    let data = json!({"cosign.pub": encode(&ec_p256())});
    for metadata in [
        json!({"name": "other", "namespace": "team-a"}),
        json!({"name": "cosign.key", "namespace": "team-b"}),
        json!({}),
    ] {
        let answer = json!({"metadata": metadata, "data": data});
        let bench = Bench::new(move |_asked| Reply::Json(200, answer.clone())).await;
        let error = bench.fetch().await.unwrap_err();
        assert!(error.to_string().contains("another secret"), "{error}");
    }
}

#[tokio::test]
async fn refusals_say_what_to_grant() {
    let message = "secrets \"cosign.key\" is forbidden: User \"system:serviceaccount:countersign:default\" cannot get resource \"secrets\"";
    let denied = json!({"kind": "Status", "status": "Failure", "reason": "Forbidden",
        "message": message, "code": 403});
    let bench = Bench::new(move |_asked| Reply::Json(403, denied.clone())).await;
    let error = bench.fetch().await.unwrap_err();
    assert!(matches!(error, Error::Denied { status: 403, .. }));
    let error = error.to_string();
    assert!(error.contains(message), "{error}");
    assert!(
        error.contains("role in namespace team-a that may `get` the secret cosign.key"),
        "{error}"
    );
}

#[tokio::test]
async fn statuses_are_told_apart() {
    type Is = fn(&Error) -> bool;
    let unavailable: Is = |error| matches!(error, Error::Unavailable { .. });
    let denied: Is = |error| matches!(error, Error::Denied { .. });
    let not_found: Is = |error| matches!(error, Error::NotFound { .. });
    for (status, is) in [
        (401, denied),
        (404, not_found),
        (429, unavailable),
        (500, unavailable),
        (503, unavailable),
    ] {
        let bench = Bench::new(move |_asked| {
            let reason = if status == 404 { "NotFound" } else { "Other" };
            Reply::Json(
                status,
                json!({"kind": "Status", "reason": reason, "message": "told"}),
            )
        })
        .await;
        let error = bench.fetch().await.unwrap_err();
        assert!(is(&error), "{status}: {error}");
        assert!(error.to_string().contains("told"), "{error}");
    }
    // A gateway that does not know the way says nothing about the key.
    let bench = Bench::new(|_asked| Reply::Json(404, json!({"message": "default backend"}))).await;
    assert!(unavailable(&bench.fetch().await.unwrap_err()));
}

#[tokio::test]
async fn redirects_are_not_followed_and_answers_have_an_end() {
    let elsewhere = Server::start(|_asked| Reply::Text(500, String::new())).await;
    let location = elsewhere.url.to_string();
    let bench = Bench::new(move |_asked| Reply::Redirect(location.clone())).await;
    let error = bench.fetch().await.unwrap_err();
    assert!(error.to_string().contains("redirects"), "{error}");
    assert!(elsewhere.take().is_empty(), "the token stays here");
    let bench = Bench::new(|_asked| Reply::Endless).await;
    let error = bench.fetch().await.unwrap_err();
    assert!(error.to_string().contains("longer than"), "{error}");
}

#[tokio::test]
async fn what_is_missing_is_named() {
    let bench = Bench::with(json!({"cosign.pub": encode(&ec_p256())})).await;
    std::fs::remove_file(bench.directory.path().join("token")).unwrap();
    let error = bench.fetch().await.unwrap_err();
    assert!(matches!(error, Error::Credentials { .. }), "{error}");
    assert!(error.to_string().contains("token"), "{error}");
    assert!(bench.server.take().is_empty());
    // An endpoint of the operator's own need not want a token.
    let mut service = bench.service();
    service.endpoint = service.cluster.endpoint.take();
    fetch(&service).await.unwrap();
    assert_eq!(bench.server.take()[0].header("authorization"), "");
    service.endpoint = None;
    let error = fetch(&service).await.unwrap_err();
    assert!(
        error.to_string().contains("KUBERNETES_SERVICE_HOST"),
        "{error}"
    );
    let bench = Bench::with(json!({})).await;
    bench.write("ca.crt", "no certificate");
    let error = bench.fetch().await.unwrap_err();
    assert!(error.to_string().contains("CA certificates"), "{error}");
    bench.write("ca.crt", &" ".repeat(1024 * 1024 + 1));
    let error = bench.fetch().await.unwrap_err();
    assert!(
        error.to_string().contains("longer than 1048576 bytes"),
        "{error}"
    );
    bench.write("token", "two\nlines");
    std::fs::remove_file(bench.directory.path().join("ca.crt")).unwrap();
    let error = bench.fetch().await.unwrap_err();
    assert!(
        error.to_string().contains("does not hold a token"),
        "{error}"
    );
}

#[test]
fn the_cluster_is_told_by_the_environment() {
    let around = |host: &'static str, port: Option<&'static str>| {
        Cluster::around(move |name| match name {
            "KUBERNETES_SERVICE_HOST" => Some(host.to_owned()),
            "KUBERNETES_SERVICE_PORT" => port.map(str::to_owned),
            other => panic!("{other}"),
        })
    };
    let endpoint = |cluster: Cluster| cluster.endpoint.map(|url| url.to_string());
    let ipv4 = endpoint(around("10.0.0.1", Some("6443")));
    assert_eq!(ipv4.as_deref(), Some("https://10.0.0.1:6443/"));
    let ipv6 = endpoint(around("fd00::1", None));
    assert_eq!(ipv6.as_deref(), Some("https://[fd00::1]/"));
    assert_eq!(endpoint(around("", None)), None);
    assert_eq!(endpoint(Cluster::around(|_name| None)), None);
}

#[test]
fn endpoints_are_https_or_on_this_machine() {
    let cluster = Cluster::around(|_name| None);
    let url = |text| Some(Url::parse(text).unwrap());
    Secrets::new(url("https://api.example:6443"), cluster.clone()).unwrap();
    Secrets::new(url("http://127.0.0.1:8001"), cluster.clone()).unwrap();
    Secrets::new(url("http://api.example"), cluster).unwrap_err();
}

#[test]
fn names_are_those_of_kubernetes() {
    parse("k8s://team-a/cosign.key").unwrap();
    for wrong in [
        "k8s://",
        "k8s://secret",
        "k8s://namespace/",
        "k8s:///secret",
        "k8s://namespace/secret/cosign.pub",
        "k8s://Namespace/secret",
        "k8s://name.space/secret",
        "k8s://namespace/..",
        "k8s://namespace/-secret",
        "k8s://namespace/sec%2fret",
        "awskms://namespace/secret",
    ] {
        let error = parse(wrong).expect_err(wrong).to_string();
        assert!(error.contains(EXAMPLE), "{error}");
    }
}
