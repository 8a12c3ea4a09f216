//! Who we are to AWS, and in which region: the vendor's default chain.

use std::sync::Arc;

use aws_config::Region;
use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_config::default_provider::region::DefaultRegionChain;
use aws_config::ecs::EcsCredentialsProvider;
use aws_config::environment::{
    EnvironmentVariableCredentialsProvider, EnvironmentVariableRegionProvider,
};
use aws_config::meta::credentials::CredentialsProviderChain;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::{ProfileFileCredentialsProvider, ProfileFileRegionProvider};
use aws_config::provider_config::ProviderConfig;
use aws_config::web_identity_token::WebIdentityTokenCredentialsProvider;
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials as _, SharedCredentialsProvider};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::Mutex;
use url::Url;

use super::SERVICE;
use crate::keys::Error;
use crate::keys::rest::shortened;

/// Where credentials and region come from. What expires is remembered until shortly before.
#[derive(Debug)]
pub(super) struct CredentialSource {
    kind: Kind,
    remembered: Mutex<Option<Remembered>>,
}

#[derive(Debug)]
enum Kind {
    System,
    Fixed {
        credentials: SharedCredentialsProvider,
        region: Option<String>,
    },
}

#[derive(Debug)]
struct Remembered {
    region: Option<String>,
    credentials: Credentials,
    until: Timestamp,
}

/// Before their end, temporary credentials are replaced: as the vendor's own clients do.
const EARLY: SignedDuration = SignedDuration::from_mins(5);

const REGION_HINT: &str = "name the key by its ARN, or set AWS_REGION or `region` in the profile";

impl CredentialSource {
    pub(super) fn of_the_system() -> Self {
        Self::new(Kind::System)
    }

    pub(super) fn fixed(credentials: SharedCredentialsProvider, region: Option<String>) -> Self {
        Self::new(Kind::Fixed {
            credentials,
            region,
        })
    }

    fn new(kind: Kind) -> Self {
        Self {
            kind,
            remembered: Mutex::new(None),
        }
    }

    /// Credentials and region for a key in `key_region`. For an endpoint on this machine no metadata server is looked
    /// for, and there may be no credentials at all.
    pub(super) async fn find(
        &self,
        key_region: Option<&str>,
        is_local: bool,
    ) -> Result<(Option<Credentials>, Option<String>), Error> {
        let mut remembered = self.remembered.lock().await;
        if let Some(known) = remembered
            .as_ref()
            .filter(|known| known.until > crate::clock::now())
        {
            let region = key_region.map(str::to_owned);
            let region = region.or_else(|| known.region.clone());
            return Ok((Some(known.credentials.clone()), region));
        }
        *remembered = None;
        let (provider, default_region) = match &self.kind {
            Kind::System if is_local => local_chain().await,
            Kind::System => system_chain(key_region).await,
            Kind::Fixed {
                credentials,
                region,
            } => (credentials.clone(), region.clone()),
        };
        let region = key_region.map(str::to_owned);
        let region = region.or_else(|| default_region.clone());
        let credentials = match provider.provide_credentials().await {
            Ok(credentials) => credentials,
            Err(CredentialsError::CredentialsNotLoaded(_)) if is_local => {
                return Ok((None, region));
            }
            Err(error) => return Err(unusable(&error)),
        };
        let expiry = credentials.expiry();
        if let Some(expiry) = expiry.and_then(|expiry| Timestamp::try_from(expiry).ok()) {
            *remembered = Some(Remembered {
                region: default_region,
                credentials: credentials.clone(),
                until: expiry.checked_sub(EARLY).unwrap_or(expiry),
            });
        }
        Ok((Some(credentials), region))
    }

    /// Has credentials fetched anew next time.
    pub(super) async fn forget(&self) {
        *self.remembered.lock().await = None;
    }
}

/// The default chain. The security token service is asked in the region of the environment, or else in the key's.
async fn system_chain(key_region: Option<&str>) -> (SharedCredentialsProvider, Option<String>) {
    let region = match DefaultRegionChain::builder().build().region().await {
        Some(region) => Some(region),
        None => key_region.map(|region| Region::new(region.to_owned())),
    };
    let name = region.as_ref().map(|region| region.as_ref().to_owned());
    let chain = DefaultCredentialsChain::builder().region(region).build();
    (SharedCredentialsProvider::new(chain.await), name)
}

/// The default chain without instance metadata, whose absence takes seconds to notice.
async fn local_chain() -> (SharedCredentialsProvider, Option<String>) {
    let regions = RegionProviderChain::first_try(EnvironmentVariableRegionProvider::new())
        .or_else(ProfileFileRegionProvider::new());
    let region = regions.region().await;
    let name = region.as_ref().map(|region| region.as_ref().to_owned());
    let settings = ProviderConfig::without_region().with_region(region);
    let profile = ProfileFileCredentialsProvider::builder().configure(&settings);
    let web_identity = WebIdentityTokenCredentialsProvider::builder().configure(&settings);
    let container = EcsCredentialsProvider::builder().configure(&settings);
    let environment = EnvironmentVariableCredentialsProvider::new();
    let chain = CredentialsProviderChain::first_try("Environment", environment)
        .or_else("Profile", profile.build())
        .or_else("WebIdentityToken", web_identity.build())
        .or_else("EcsContainer", container.build());
    (
        SharedCredentialsProvider::from(Arc::new(chain) as Arc<_>),
        name,
    )
}

/// The address of KMS in a region.
pub(super) fn regional_endpoint(region: &str) -> Result<Url, Error> {
    let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let is_region = !region.is_empty() && region.bytes().all(is_name);
    let domain = match region {
        _ if region.starts_with("cn-") => "amazonaws.com.cn",
        _ if region.starts_with("us-isob-") => "sc2s.sgov.gov",
        _ if region.starts_with("us-iso-") => "c2s.ic.gov",
        _ if region.starts_with("eusc-") => "amazonaws.eu",
        _ => "amazonaws.com",
    };
    let url = Url::parse(&format!("https://kms.{region}.{domain}/")).ok();
    url.filter(|_| is_region).ok_or_else(no_region)
}

pub(super) fn no_region() -> Error {
    Error::Credentials {
        service: SERVICE,
        reason: format!("no region is known: {REGION_HINT}"),
    }
}

/// The vendor's errors say which source failed and why, and hold no credentials in `Display`.
fn unusable(error: &CredentialsError) -> Error {
    let mut reason = match error {
        CredentialsError::CredentialsNotLoaded(_) => {
            "none in the environment, the profile, a web identity token (IRSA), the container credentials endpoint \
             or the instance metadata"
                .to_owned()
        }
        CredentialsError::ProviderTimedOut(_)
        | CredentialsError::InvalidConfiguration(_)
        | CredentialsError::ProviderError(_)
        | CredentialsError::Unhandled(_)
        | _ => error.to_string(),
    };
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        reason = format!("{reason}: {cause}");
        source = cause.source();
    }
    Error::Credentials {
        service: SERVICE,
        reason: shortened(&reason),
    }
}
