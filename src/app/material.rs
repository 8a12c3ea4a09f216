//! What the policies are completed with: keys from key services, and trusted roots that refresh themselves.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use url::Url;

use super::Error;
use crate::clock;
use crate::config::Config;
use crate::in_force::{self, Configured};
use crate::keys::{self, KeyService, Keys, Scheme};
use crate::trust::Roots;

/// What `config` puts in force. Keys begin to be fetched at once, in the background; roots are opened as they were last
/// known, in `directory` if there is one.
///
/// # Errors
/// When a key service's endpoint or a trusted root cannot be used.
pub(crate) fn configured(
    config: &Config,
    directory: Option<&Path>,
    observer: Arc<dyn keys::Observer>,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) -> Result<Configured, Error> {
    let policies = Arc::clone(&config.policies);
    let roots = Roots::open(
        config.root_sources.clone(),
        directory,
        config.root_max_stale,
        clock::now(),
    )?;
    let wanted: std::collections::BTreeSet<_> = policies
        .policies
        .iter()
        .flat_map(|policy| in_force::references(policy))
        .collect();
    let keys = if wanted.is_empty() {
        None
    } else {
        let mut services: BTreeMap<Scheme, Arc<dyn KeyService>> = BTreeMap::new();
        for reference in &wanted {
            let scheme = reference.scheme();
            let endpoint = config.key_providers.get(&scheme).cloned();
            services.insert(scheme, service(scheme, endpoint)?);
        }
        let keys = Keys::new(services, observer, tasks.clone(), stop);
        keys.want(wanted);
        Some(keys)
    };
    Ok(Configured {
        policies,
        limits: Arc::clone(&config.limits),
        keys,
        roots: Some(roots),
    })
}

fn service(scheme: Scheme, endpoint: Option<Url>) -> Result<Arc<dyn KeyService>, Error> {
    Ok(match scheme {
        Scheme::Google => Arc::new(keys::google::CloudKms::new(
            endpoint,
            keys::google::GoogleToken::from_environment(),
        )?),
        Scheme::Aws => Arc::new(keys::aws::Kms::new(endpoint)?),
        Scheme::Azure => Arc::new(keys::azure::KeyVault::new(endpoint)?),
        Scheme::Vault => Arc::new(keys::vault::Transit::new(endpoint)?),
        Scheme::Kubernetes => {
            let cluster = keys::kubernetes::Cluster::around(variable);
            Arc::new(keys::kubernetes::Secrets::new(endpoint, cluster)?)
        }
    })
}

#[expect(
    clippy::disallowed_methods,
    reason = "where the cluster is stands in the environment of every pod"
)]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
