//! Tokens as Entra ID and the metadata server give them.

use std::time::Duration;

use azure_core::http::{AsyncRawResponse, HttpClient, Request as AzureRequest};

use super::*;
use crate::secret::Secret;

const ACCESS_TOKEN: &str = "the-access-token";
const CLIENT_SECRET: &str = "the-client-secret";
const JWT: &str = "the-federated-token";

/// Sends everything to the fake service, and says where it should have gone.
#[derive(Debug)]
struct ToFake {
    client: reqwest::Client,
    url: Url,
}

#[async_trait::async_trait]
impl HttpClient for ToFake {
    async fn execute_request(
        &self,
        request: &AzureRequest,
    ) -> azure_core::Result<AsyncRawResponse> {
        let mut request = request.clone();
        let origin = request.url().origin().ascii_serialization();
        request.insert_header("x-asked-of", origin);
        let mut url = self.url.clone();
        url.set_path(request.url().path());
        url.set_query(request.url().query());
        *request.url_mut() = url;
        self.client.execute_request(&request).await
    }
}

fn key_vault(service: &FakeService, settings: Settings) -> KeyVault {
    let transport = ToFake {
        client: reqwest::Client::new(),
        url: service.url.clone(),
    };
    let wire = Wire::new(SERVICE, None).unwrap();
    let transport = Transport::new(Arc::new(transport));
    KeyVault::with_transport(Some(service.url.clone()), settings, wire, transport).unwrap()
}

/// Gives tokens, as Entra ID and the metadata server do, and has the key.
async fn cloud() -> FakeService {
    FakeService::start(|asked| {
        if !is_token_request(asked) {
            return Reply::ok(bundle(V1));
        }
        Reply::ok(json!({
            "token_type": "Bearer", "expires_in": match asked.method.as_str() {
                "POST" => json!(3599),
                _ => json!("3599"),
            },
            "ext_expires_in": 3599, "expires_on": "9999999999", "access_token": ACCESS_TOKEN,
            "resource": "https://vault.azure.net",
        }))
    })
    .await
}

async fn fetch(vault: &KeyVault) -> Result<Vec<KeyVersion>, Error> {
    vault.fetch(&reference(Scheme::Azure, PINNED), soon()).await
}

fn workload_identity(directory: &std::path::Path) -> Settings {
    let file = directory.join("token");
    std::fs::write(&file, JWT).unwrap();
    Settings {
        tenant_id: Some("the-tenant".to_owned()),
        client_id: Some("the-client".to_owned()),
        federated_token_file: Some(file),
        ..Settings::default()
    }
}

fn form(asked: &Asked) -> Vec<(String, String)> {
    let pairs = url::form_urlencoded::parse(asked.body.as_bytes());
    pairs.into_owned().collect()
}

fn field(asked: &Asked, name: &str) -> String {
    let found = form(asked).into_iter().find(|(key, _)| key == name);
    found.map(|(_, value)| value).unwrap_or_default()
}

#[test]
fn reads_the_variables_of_azures_tools() {
    let settings = Settings::from_lookup(&|name| Some(name.to_owned()));
    assert_eq!(settings.tenant_id.as_deref(), Some("AZURE_TENANT_ID"));
    assert_eq!(settings.client_id.as_deref(), Some("AZURE_CLIENT_ID"));
    let secret = settings.client_secret.as_ref().map(Secret::expose);
    assert_eq!(secret, Some("AZURE_CLIENT_SECRET"));
    assert_eq!(
        settings.federated_token_file,
        Some("AZURE_FEDERATED_TOKEN_FILE".into())
    );
    assert_eq!(
        settings.authority_host.as_deref(),
        Some("AZURE_AUTHORITY_HOST")
    );
    assert!(settings.has_identity_endpoint);
    let settings = Settings::from_lookup(&|_| Some(String::new()));
    assert!(settings.tenant_id.is_none() && !settings.has_identity_endpoint);
}

#[tokio::test]
async fn exchanges_the_pods_token() {
    let directory = tempfile::tempdir().unwrap();
    let service = cloud().await;
    let vault = key_vault(&service, workload_identity(directory.path()));
    fetch(&vault).await.unwrap();
    fetch(&vault).await.unwrap();
    let asked = service.asked();
    assert_eq!(asked.len(), 3, "the token is remembered");
    assert_eq!(asked[0].method, "POST");
    assert_eq!(asked[0].path(), "/the-tenant/oauth2/v2.0/token");
    assert_eq!(
        asked[0].header("x-asked-of"),
        "https://login.microsoftonline.com"
    );
    assert_eq!(field(&asked[0], "client_assertion"), JWT);
    assert_eq!(field(&asked[0], "client_id"), "the-client");
    assert_eq!(
        field(&asked[0], "scope"),
        "https://vault.azure.net/.default"
    );
    for asked in &asked[1..] {
        assert_eq!(
            asked.header("authorization"),
            format!("Bearer {ACCESS_TOKEN}")
        );
    }
}

#[tokio::test]
async fn every_cloud_has_its_own_authority_and_scope() {
    for (domain, configured, authority) in [
        ("vault.azure.net", None, "https://login.microsoftonline.com"),
        ("vault.azure.cn", None, "https://login.chinacloudapi.cn"),
        (
            "vault.usgovcloudapi.net",
            None,
            "https://login.microsoftonline.us",
        ),
        (
            "managedhsm.azure.net",
            None,
            "https://login.microsoftonline.com",
        ),
        (
            "vault.azure.net",
            Some("https://login.example/"),
            "https://login.example",
        ),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let service = cloud().await;
        let settings = Settings {
            authority_host: configured.map(str::to_owned),
            ..workload_identity(directory.path())
        };
        let vault = key_vault(&service, settings);
        let text = format!("azurekms://my-vault.{domain}/release/{V1}");
        let fetched = vault.fetch(&reference(Scheme::Azure, &text), soon()).await;
        // The key that is sent is the one of the public cloud.
        assert_eq!(fetched.is_ok(), domain == "vault.azure.net", "{domain}");
        let asked = &service.asked()[0];
        assert_eq!(asked.header("x-asked-of"), authority);
        assert_eq!(field(asked, "scope"), format!("https://{domain}/.default"));
    }
}

#[tokio::test]
async fn a_client_secret_comes_first() {
    let directory = tempfile::tempdir().unwrap();
    let service = cloud().await;
    let settings = Settings {
        client_secret: Some(Secret::new(CLIENT_SECRET.to_owned())),
        ..workload_identity(directory.path())
    };
    let vault = key_vault(&service, settings);
    fetch(&vault).await.unwrap();
    let asked = &service.asked()[0];
    assert_eq!(field(asked, "client_secret"), CLIENT_SECRET);
    assert_eq!(field(asked, "client_id"), "the-client");
    assert!(!format!("{vault:?}").contains(CLIENT_SECRET));
}

#[tokio::test]
async fn asks_the_metadata_server_for_the_managed_identity() {
    for client_id in [None, Some("the-client")] {
        let service = cloud().await;
        // The vendor's library takes the metadata server's own address, for want of these variables.
        let settings = Settings {
            client_id: client_id.map(str::to_owned),
            has_identity_endpoint: true,
            ..Settings::default()
        };
        fetch(&key_vault(&service, settings)).await.unwrap();
        let asked = service.asked();
        assert_eq!(asked[0].method, "GET");
        assert_eq!(asked[0].path(), "/metadata/identity/oauth2/token");
        assert_eq!(asked[0].header("x-asked-of"), "http://169.254.169.254");
        assert_eq!(asked[0].header("metadata"), "true");
        let query: Vec<(String, String)> = url::form_urlencoded::parse(asked[0].query().as_bytes())
            .into_owned()
            .collect();
        let value = |name: &str| query.iter().find(|(key, _)| key == name);
        assert_eq!(value("resource").unwrap().1, "https://vault.azure.net");
        assert_eq!(
            value("client_id").map(|(_, value)| value.as_str()),
            client_id
        );
        assert_eq!(
            asked[1].header("authorization"),
            format!("Bearer {ACCESS_TOKEN}")
        );
    }
}

#[tokio::test]
async fn says_why_there_is_no_token_and_nothing_secret() {
    let directory = tempfile::tempdir().unwrap();
    let service = FakeService::start(|_| {
        Reply::new(
            400,
            json!({
                "error": "invalid_client", "error_description": "AADSTS700016: no such application",
                "error_codes": [700016], "trace_id": "x", "correlation_id": "y",
            }),
        )
    })
    .await;
    let vault = key_vault(&service, workload_identity(directory.path()));
    let error = fetch(&vault).await.unwrap_err();
    assert!(matches!(error, Error::Credentials { .. }), "{error}");
    let shown = format!("{error} {error:?}");
    assert!(
        shown.contains("AADSTS700016") && !shown.contains(JWT),
        "{shown}"
    );
    assert!(
        service.asked().iter().all(is_token_request),
        "the vault is not asked"
    );

    std::fs::remove_file(directory.path().join("token")).unwrap();
    let settings = Settings {
        federated_token_file: Some(directory.path().join("token")),
        tenant_id: Some("the-tenant".to_owned()),
        client_id: Some("the-client".to_owned()),
        ..Settings::default()
    };
    let error = fetch(&key_vault(&service, settings)).await.unwrap_err();
    assert!(matches!(error, Error::Credentials { .. }), "{error}");
}

#[tokio::test]
async fn a_silent_metadata_server_does_not_outlast_the_deadline() {
    let service = FakeService::start(|_| Reply::new(404, "{}")).await;
    let settings = Settings {
        has_identity_endpoint: true,
        ..Settings::default()
    };
    let vault = key_vault(&service, settings);
    let began = Instant::now();
    let deadline = began + Duration::from_millis(300);
    let fetched = vault
        .fetch(&reference(Scheme::Azure, PINNED), deadline)
        .await;
    let error = fetched.unwrap_err();
    assert!(matches!(error, Error::Credentials { .. }), "{error}");
    assert!(began.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn reads_no_more_of_a_token_than_allowed() {
    for (length, is_read) in [
        (crate::keys::limits::ANSWER_BYTES_MAX, true),
        (crate::keys::limits::ANSWER_BYTES_MAX + 1, false),
    ] {
        let service = FakeService::start(move |_| Reply::ok("x".repeat(length))).await;
        let transport = transport::Bounded::new(reqwest::Client::new()).unwrap();
        let request = AzureRequest::new(service.url.clone(), azure_core::http::Method::Get);
        assert_eq!(transport.execute_request(&request).await.is_ok(), is_read);
    }
}
