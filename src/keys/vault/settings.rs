//! Where Vault is and who we are to it.

use std::path::PathBuf;

use crate::secret::Secret;

/// Address and credentials.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// `VAULT_ADDR`.
    pub address: Option<String>,
    /// `VAULT_TOKEN`. It comes before everything else.
    pub token: Option<Secret>,
    /// Log in with the pod's Kubernetes token.
    pub kubernetes: Option<KubernetesLogin>,
    /// `~/.vault-token`, which `vault login` and the agent write. Read anew for every fetch.
    pub token_file: Option<PathBuf>,
    /// `VAULT_NAMESPACE`.
    pub namespace: Option<String>,
    /// `TRANSIT_SECRET_ENGINE_PATH`; by default `transit`.
    pub mount: Option<String>,
    /// `VAULT_CACERT`: certificates to trust besides the platform's.
    pub ca_file: Option<PathBuf>,
}

/// The Kubernetes auth method.
#[derive(Debug, Clone)]
pub struct KubernetesLogin {
    /// `VAULT_K8S_ROLE`.
    pub role: String,
    /// `VAULT_K8S_MOUNT_PATH`; by default `kubernetes`.
    pub mount: String,
    /// `VAULT_K8S_TOKEN_FILE`; by default the pod's own. Read anew for every login, as it is replaced every hour.
    pub token_file: PathBuf,
}

pub(super) const SERVICE_ACCOUNT_TOKEN: &str =
    "/var/run/secrets/kubernetes.io/serviceaccount/token";

impl Settings {
    /// From the variables that Vault's own tools, cosign and the Kubernetes integrations read.
    #[must_use]
    pub fn from_environment() -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "Vault's tools are configured with variables, and so are pods that talk to it"
        )]
        Self::from_lookup(&|name| std::env::var(name).ok())
    }

    pub(super) fn from_lookup(lookup: &dyn Fn(&str) -> Option<String>) -> Self {
        let lookup = |name| lookup(name).filter(|value| !value.is_empty());
        let kubernetes = lookup("VAULT_K8S_ROLE").map(|role| KubernetesLogin {
            role,
            mount: path(lookup("VAULT_K8S_MOUNT_PATH"), "kubernetes"),
            token_file: lookup("VAULT_K8S_TOKEN_FILE")
                .unwrap_or_else(|| SERVICE_ACCOUNT_TOKEN.to_owned())
                .into(),
        });
        Self {
            address: lookup("VAULT_ADDR"),
            token: lookup("VAULT_TOKEN").map(Secret::new),
            kubernetes,
            token_file: lookup("HOME").map(|home| PathBuf::from(home).join(".vault-token")),
            namespace: lookup("VAULT_NAMESPACE"),
            mount: lookup("TRANSIT_SECRET_ENGINE_PATH"),
            ca_file: lookup("VAULT_CACERT").map(PathBuf::from),
        }
    }

    /// The login to use, unless there is a token already.
    pub(super) fn kubernetes_login(&self) -> Option<&KubernetesLogin> {
        self.kubernetes.as_ref().filter(|_| self.token.is_none())
    }

    pub(super) fn mount(&self) -> String {
        path(self.mount.clone(), "transit")
    }
}

fn path(configured: Option<String>, default: &str) -> String {
    let path = configured.unwrap_or_default();
    match path.trim_matches('/') {
        "" => default.to_owned(),
        path => path.to_owned(),
    }
}
