//! Who must have signed, where that is told by a certificate.

use serde_json::{Map, Value, json};

/// Who a certificate must be for, and who must have vouched for that.
#[derive(Debug, clap::Args)]
#[group(id = "Identity", multiple = true, conflicts_with = "config")]
pub(super) struct Identity {
    /// The identity (email address or workflow) in the signing certificate; the issuer is needed as well.
    #[arg(
        long,
        value_name = "IDENTITY",
        conflicts_with = "certificate_identity_regexp"
    )]
    pub(super) certificate_identity: Option<String>,
    /// The same as an expression, which must match the whole identity.
    #[arg(long, value_name = "REGEXP")]
    pub(super) certificate_identity_regexp: Option<String>,
    /// The OIDC issuer in the signing certificate; the identity is needed as well.
    #[arg(
        long,
        value_name = "URL",
        conflicts_with = "certificate_oidc_issuer_regexp"
    )]
    pub(super) certificate_oidc_issuer: Option<String>,
    /// The same as an expression, which must match the whole issuer.
    #[arg(long, value_name = "REGEXP")]
    pub(super) certificate_oidc_issuer_regexp: Option<String>,
    /// The name of the GitHub workflow in the signing certificate.
    #[arg(long, value_name = "NAME")]
    certificate_github_workflow_name: Option<String>,
    /// The git ref that the workflow ran for.
    #[arg(long, value_name = "REF")]
    certificate_github_workflow_ref: Option<String>,
    /// The repository that the workflow ran for, as owner/name.
    #[arg(long, value_name = "REPOSITORY")]
    certificate_github_workflow_repository: Option<String>,
    /// The commit that the workflow ran for.
    #[arg(long, value_name = "SHA")]
    certificate_github_workflow_sha: Option<String>,
    /// The event that started the workflow.
    #[arg(long, value_name = "EVENT")]
    certificate_github_workflow_trigger: Option<String>,
}

impl Identity {
    pub(super) fn is_given(&self) -> bool {
        self.certificate_identity.is_some()
            || self.certificate_identity_regexp.is_some()
            || self.certificate_oidc_issuer.is_some()
            || self.certificate_oidc_issuer_regexp.is_some()
            || !self.extensions().is_empty()
    }

    /// By the names that the configuration has for Fulcio's extensions.
    pub(super) fn extensions(&self) -> Map<String, Value> {
        let given = [
            (
                "github_workflow_name",
                &self.certificate_github_workflow_name,
            ),
            ("github_workflow_ref", &self.certificate_github_workflow_ref),
            (
                "github_workflow_repository",
                &self.certificate_github_workflow_repository,
            ),
            ("github_workflow_sha", &self.certificate_github_workflow_sha),
            (
                "github_workflow_trigger",
                &self.certificate_github_workflow_trigger,
            ),
        ];
        given
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), json!(value.as_ref()?))))
            .collect()
    }
}
