//! Application Default Credentials as the environment gives them. The library reads the environment of the process, so
//! each case runs in a process of its own: this test binary again, with one test that is otherwise ignored.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::process::Command;

use super::*;
use crate::keys::tests::Asked;

const CHILD: &str = "keys::google::tests::environment::child_reads_one_key";
const ENDPOINT: &str = "KEYS_TEST_ENDPOINT";

/// Prints the versions of the key, or why it cannot be read, then what [`GoogleToken::token`] says.
#[tokio::test]
#[ignore = "run by the other tests, in an environment that they make"]
async fn child_reads_one_key() {
    let endpoint = std::env::var_os(ENDPOINT).unwrap();
    let endpoint = Url::parse(endpoint.to_str().unwrap()).unwrap();
    let token = GoogleToken::from_environment();
    let service = CloudKms::new(Some(endpoint), token.clone()).unwrap();
    let begun = Instant::now();
    let deadline = begun + Duration::from_secs(10);
    match service.fetch(&unpinned(), deadline).await {
        Ok(versions) => println!("read {:?}", names(&versions)),
        Err(error) => println!("failed {error}"),
    }
    println!("took {} ms", begun.elapsed().as_millis());
    match token.token().await {
        Ok(token) => println!("token {}", token.expose()),
        Err(error) => println!("no token {error}"),
    }
}

/// What the child prints with these variables and no others that matter.
async fn read(kms: &FakeKms, home: &Path, variables: &[(&str, &str)]) -> String {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child
        .args(["--exact", CHILD, "--ignored", "--nocapture"])
        .env_clear()
        .env(ENDPOINT, kms.server.url.as_str())
        .env("HOME", home)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    for (name, value) in variables {
        child.env(name, value);
    }
    let output = child.output().await.unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{printed}{errors}");
    printed
}

/// A file of credentials in a directory.
fn write(home: &Path, name: &str, credentials: &Value) -> String {
    let path = home.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, credentials.to_string()).unwrap();
    path.to_str().unwrap().to_owned()
}

/// A token endpoint: what it is asked decides which token it gives.
async fn token_endpoint(is_right: fn(&Asked) -> bool) -> Server {
    Server::start(move |asked| {
        if is_right(asked) {
            let token = json!({"access_token": TOKEN, "token_type": "Bearer", "expires_in": 3600,
                "issued_token_type": "urn:ietf:params:oauth:token-type:access_token"});
            Reply::Json(200, token)
        } else {
            Reply::Json(400, json!({"error": "invalid_grant"}))
        }
    })
    .await
}

fn service_account(token_uri: &Url) -> Value {
    let pair = aws_lc_rs::rsa::KeyPair::generate(KeySize::Rsa2048).unwrap();
    let key: aws_lc_rs::encoding::Pkcs8V1Der<'_> =
        aws_lc_rs::encoding::AsDer::as_der(&pair).unwrap();
    json!({
        "type": "service_account",
        "project_id": "p",
        "private_key_id": "1",
        "private_key": pem_of("PRIVATE KEY", key.as_ref()),
        "client_email": "countersign@p.iam.gserviceaccount.com",
        "client_id": "1",
        "token_uri": token_uri.as_str(),
    })
}

#[tokio::test]
async fn a_key_file_of_a_service_account() {
    let kms = FakeKms::with([1]).await;
    let home = tempfile::tempdir().unwrap();
    // The library signs a JWT that Google takes as a token itself, so there is nothing to exchange.
    kms.change(|kms| kms.token = None);
    let uri = Url::parse("http://127.0.0.1:1/token").unwrap();
    let path = write(home.path(), "key.json", &service_account(&uri));
    let variables = [("GOOGLE_APPLICATION_CREDENTIALS", path.as_str())];
    let printed = read(&kms, home.path(), &variables).await;
    assert!(printed.contains("read [\"1\"]"), "{printed}");
    let asked = kms.server.take();
    let token = asked[0]
        .header("authorization")
        .strip_prefix("Bearer ")
        .unwrap();
    let claims: Vec<&str> = token.split('.').collect();
    assert_eq!(claims.len(), 3);
    let claims =
        base64::prelude::Engine::decode(&base64::prelude::BASE64_URL_SAFE_NO_PAD, claims[1]);
    let claims: Value = serde_json::from_slice(&claims.unwrap()).unwrap();
    assert_eq!(claims["iss"], "countersign@p.iam.gserviceaccount.com");
    assert!(
        printed.contains(&format!("token {token}")),
        "the same is kept: {printed}"
    );
}

#[tokio::test]
async fn a_user_who_logged_in() {
    let kms = FakeKms::with([1]).await;
    let home = tempfile::tempdir().unwrap();
    let tokens = token_endpoint(|asked| {
        let body: Value = serde_json::from_str(&asked.body).unwrap_or_default();
        let refresh = asked.parameter("refresh_token");
        refresh.as_deref() == Some("refresh") || body["refresh_token"] == "refresh"
    })
    .await;
    let credentials = json!({
        "type": "authorized_user",
        "client_id": "id",
        "client_secret": "secret",
        "refresh_token": "refresh",
        "quota_project_id": "billed",
        "token_uri": tokens.url.join("token").unwrap().as_str(),
    });
    let name = ".config/gcloud/application_default_credentials.json";
    write(home.path(), name, &credentials);
    let printed = read(&kms, home.path(), &[]).await;
    assert!(printed.contains("read [\"1\"]"), "{printed}");
    assert_eq!(kms.server.take()[0].header("x-goog-user-project"), "billed");
    assert_eq!(tokens.take().len(), 1, "one token serves all requests");
}

#[tokio::test]
async fn workload_identity_federation() {
    let kms = FakeKms::with([1]).await;
    let home = tempfile::tempdir().unwrap();
    let tokens = token_endpoint(|asked| {
        asked.path == "/v1/token" && asked.parameter("subject_token").as_deref() == Some("subject")
    })
    .await;
    let subject = home.path().join("subject");
    std::fs::write(&subject, "subject").unwrap();
    let credentials = json!({
        "type": "external_account",
        "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/x",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": tokens.url.join("v1/token").unwrap().as_str(),
        "credential_source": {"file": subject},
    });
    let path = write(home.path(), "federation.json", &credentials);
    let variables = [("GOOGLE_APPLICATION_CREDENTIALS", path.as_str())];
    let printed = read(&kms, home.path(), &variables).await;
    assert!(printed.contains("read [\"1\"]"), "{printed}");
    assert!(printed.contains(&format!("token {TOKEN}")), "{printed}");
    assert_eq!(tokens.take().len(), 1);
}

#[tokio::test]
async fn the_metadata_server() {
    let kms = FakeKms::with([1]).await;
    let home = tempfile::tempdir().unwrap();
    let metadata = token_endpoint(|asked| {
        asked.path == "/computeMetadata/v1/instance/service-accounts/default/token"
            && asked.header("metadata-flavor") == "Google"
    })
    .await;
    let host = rest::host(&metadata.url);
    let printed = read(&kms, home.path(), &[("GCE_METADATA_HOST", &host)]).await;
    assert!(printed.contains("read [\"1\"]"), "{printed}");
    assert!(printed.contains(&format!("token {TOKEN}")), "{printed}");
}

#[tokio::test]
async fn without_credentials_a_service_on_this_machine_is_asked_all_the_same() {
    let kms = FakeKms::with([1]).await;
    kms.change(|kms| kms.token = None);
    let home = tempfile::tempdir().unwrap();
    // A metadata server that never answers.
    let silent = Server::start(|_asked| Reply::Stalls).await;
    let host = rest::host(&silent.url);
    let variables = [("GCE_METADATA_HOST", host.as_str())];
    let printed = read(&kms, home.path(), &variables).await;
    assert!(printed.contains("read [\"1\"]"), "{printed}");
    let took = printed.split("took ").nth(1).unwrap();
    let took: u64 = took.split(' ').next().unwrap().parse().unwrap();
    assert!((900..2500).contains(&took), "{took}");
    assert_eq!(kms.server.take()[0].header("authorization"), "");

    // If it asks for them, what is missing is what the error is about.
    kms.change(|kms| kms.token = Some(TOKEN));
    let printed = read(&kms, home.path(), &variables).await;
    assert!(
        printed.contains("failed no credentials for Google Cloud"),
        "{printed}"
    );
    assert!(
        printed.contains("GOOGLE_APPLICATION_CREDENTIALS is not set"),
        "{printed}"
    );
}

#[tokio::test]
async fn a_service_on_this_machine_is_not_asked_through_a_proxy() {
    let kms = FakeKms::with([1]).await;
    kms.change(|kms| kms.token = None);
    let home = tempfile::tempdir().unwrap();
    let variables = [("HTTP_PROXY", "http://127.0.0.1:1")];
    let printed = read(&kms, home.path(), &variables).await;
    assert!(printed.contains("read [\"1\"]"), "{printed}");
}

#[tokio::test]
async fn broken_credentials_are_not_the_same_as_none() {
    let kms = FakeKms::with([1]).await;
    kms.change(|kms| kms.token = None);
    let home = tempfile::tempdir().unwrap();
    let path = write(
        home.path(),
        "broken.json",
        &json!({"type": "service_account"}),
    );
    for path in [path.as_str(), "/nowhere/key.json"] {
        let variables = [("GOOGLE_APPLICATION_CREDENTIALS", path)];
        let printed = read(&kms, home.path(), &variables).await;
        assert!(printed.contains("failed no credentials"), "{printed}");
        assert!(printed.contains(path), "{printed}");
    }
    assert!(kms.server.take().is_empty());
}

#[tokio::test]
async fn credentials_that_failed_are_looked_for_again() {
    let kms = FakeKms::with([1]).await;
    kms.change(|kms| kms.token = None);
    let home = tempfile::tempdir().unwrap();
    // After this answer the library asks no more, ever.
    let is_first = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let metadata = Server::start(move |_asked| {
        if is_first.swap(false, std::sync::atomic::Ordering::Relaxed) {
            return Reply::Text(404, String::new());
        }
        let token = json!({"access_token": TOKEN, "token_type": "Bearer", "expires_in": 3600});
        Reply::Json(200, token)
    })
    .await;
    let host = rest::host(&metadata.url);
    let printed = read(&kms, home.path(), &[("GCE_METADATA_HOST", &host)]).await;
    assert_eq!(kms.server.take()[0].header("authorization"), "");
    assert!(printed.contains(&format!("token {TOKEN}")), "{printed}");
}
