//! Who we are to Azure: a client secret, Workload Identity or a managed identity.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use azure_core::cloud::{CloudConfiguration, CustomConfiguration};
use azure_core::credentials::TokenCredential;
use azure_core::http::{ClientOptions, Transport};
use azure_identity::{
    ClientAssertionCredentialOptions, ClientSecretCredential, ClientSecretCredentialOptions,
    ManagedIdentityCredential, ManagedIdentityCredentialOptions, UserAssignedId,
    WorkloadIdentityCredential, WorkloadIdentityCredentialOptions,
};
use http::header::HeaderValue;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::SERVICE;
use super::key_id::Cloud;
use crate::keys::Error;
use crate::keys::rest::shortened;
use crate::secret::Secret;

/// Where credentials come from: by default nowhere but the managed identity of the machine.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// `AZURE_TENANT_ID`.
    pub tenant_id: Option<String>,
    /// `AZURE_CLIENT_ID`: the application, or the user-assigned managed identity.
    pub client_id: Option<String>,
    /// `AZURE_CLIENT_SECRET`. With tenant and client it comes before everything else.
    pub client_secret: Option<Secret>,
    /// `AZURE_FEDERATED_TOKEN_FILE`: the Kubernetes token that Workload Identity exchanges.
    pub federated_token_file: Option<PathBuf>,
    /// `AZURE_AUTHORITY_HOST`: who gives tokens, in place of the vault's cloud.
    pub authority_host: Option<String>,
    /// Whether `IDENTITY_ENDPOINT` or `MSI_ENDPOINT` tells where the managed identity is; the vendor's library reads
    /// them itself.
    pub has_identity_endpoint: bool,
}

/// Gives tokens for each cloud, and keeps them until shortly before they expire.
#[derive(Debug)]
pub(super) struct Identities {
    settings: Settings,
    transport: Transport,
    credentials: Mutex<BTreeMap<Cloud, Arc<dyn TokenCredential>>>,
}

impl Settings {
    /// From the variables that the vendor's tools read.
    #[must_use]
    pub fn from_environment() -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "Workload Identity's webhook configures pods with variables"
        )]
        Self::from_lookup(&|name| std::env::var(name).ok())
    }

    pub(super) fn from_lookup(lookup: &dyn Fn(&str) -> Option<String>) -> Self {
        let lookup = |name| lookup(name).filter(|value| !value.is_empty());
        Self {
            tenant_id: lookup("AZURE_TENANT_ID"),
            client_id: lookup("AZURE_CLIENT_ID"),
            client_secret: lookup("AZURE_CLIENT_SECRET").map(Secret::new),
            federated_token_file: lookup("AZURE_FEDERATED_TOKEN_FILE").map(PathBuf::from),
            authority_host: lookup("AZURE_AUTHORITY_HOST"),
            has_identity_endpoint: ["IDENTITY_ENDPOINT", "MSI_ENDPOINT"]
                .into_iter()
                .any(|name| lookup(name).is_some()),
        }
    }
}

impl Identities {
    pub(super) fn new(settings: Settings, transport: Transport) -> Self {
        Self {
            settings,
            transport,
            credentials: Mutex::new(BTreeMap::new()),
        }
    }

    /// Whether anything says where credentials are: without, only a metadata server could have some.
    pub(super) fn is_any_named(&self) -> bool {
        let settings = &self.settings;
        settings.client_secret.is_some()
            || settings.federated_token_file.is_some()
            || settings.has_identity_endpoint
    }

    /// The value of `Authorization` for a vault in that cloud.
    pub(super) async fn token(
        &self,
        cloud: Cloud,
        deadline: Instant,
    ) -> Result<HeaderValue, Error> {
        let credential = self.credential(cloud).await?;
        let scope = cloud.scope();
        let scopes = [scope.as_str()];
        let token = credential.get_token(&scopes, None);
        let token = match tokio::time::timeout_at(deadline, token).await {
            Ok(token) => token.map_err(|error| unusable(&error))?,
            Err(_elapsed) => return Err(refused("no token came in time")),
        };
        let header = HeaderValue::from_str(&format!("Bearer {}", token.token.secret()));
        let mut header = header.map_err(|_invalid| refused("the token is not text"))?;
        header.set_sensitive(true);
        Ok(header)
    }

    async fn credential(&self, cloud: Cloud) -> Result<Arc<dyn TokenCredential>, Error> {
        let mut credentials = self.credentials.lock().await;
        if let Some(known) = credentials.get(&cloud) {
            return Ok(Arc::clone(known));
        }
        let made = self.make(cloud).map_err(|error| unusable(&error))?;
        credentials.insert(cloud, Arc::clone(&made));
        Ok(made)
    }

    /// In the order of the vendor's default chain.
    fn make(&self, cloud: Cloud) -> azure_core::Result<Arc<dyn TokenCredential>> {
        let settings = &self.settings;
        let client_options = self.client_options(cloud);
        if let (Some(tenant), Some(client), Some(secret)) = (
            &settings.tenant_id,
            &settings.client_id,
            &settings.client_secret,
        ) {
            let secret = azure_core::credentials::Secret::new(secret.expose().to_owned());
            let options = ClientSecretCredentialOptions { client_options };
            let client = client.clone();
            return Ok(ClientSecretCredential::new(
                tenant,
                client,
                secret,
                Some(options),
            )?);
        }
        if let Some(file) = &settings.federated_token_file {
            let options = WorkloadIdentityCredentialOptions {
                credential_options: ClientAssertionCredentialOptions { client_options },
                client_id: settings.client_id.clone(),
                tenant_id: settings.tenant_id.clone(),
                token_file_path: Some(file.clone()),
            };
            return Ok(WorkloadIdentityCredential::new(Some(options))?);
        }
        let options = ManagedIdentityCredentialOptions {
            user_assigned_id: settings.client_id.clone().map(UserAssignedId::ClientId),
            client_options,
        };
        Ok(ManagedIdentityCredential::new(Some(options))?)
    }

    fn client_options(&self, cloud: Cloud) -> ClientOptions {
        let configured = self.settings.authority_host.as_deref();
        let mut custom = CustomConfiguration::default();
        custom.authority_host = configured.unwrap_or_else(|| cloud.authority()).to_owned();
        ClientOptions {
            transport: Some(self.transport.clone()),
            cloud: Some(Arc::new(CloudConfiguration::from(custom))),
            ..ClientOptions::default()
        }
    }
}

fn refused(reason: &str) -> Error {
    Error::Credentials {
        service: SERVICE,
        reason: reason.to_owned(),
    }
}

fn unusable(error: &azure_core::Error) -> Error {
    refused(&shortened(&error.to_string()))
}
