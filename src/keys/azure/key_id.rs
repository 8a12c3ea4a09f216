//! `azurekms://VAULT.vault.azure.net/KEY[/VERSION]`.

use url::Url;

use crate::keys::ReferenceError;

/// A key of Azure Key Vault, as a reference names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyId {
    host: String,
    vault: Url,
    cloud: Cloud,
    name: String,
    version: Option<String>,
}

/// Which cloud a vault is in, and which of its services it is: tokens are for one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Cloud {
    Public,
    PublicHsm,
    China,
    ChinaHsm,
    Government,
    GovernmentHsm,
}

const EXAMPLE: &str = "azurekms://my-vault.vault.azure.net/my-key";

const ALL_CLOUDS: [Cloud; 6] = [
    Cloud::Public,
    Cloud::PublicHsm,
    Cloud::China,
    Cloud::ChinaHsm,
    Cloud::Government,
    Cloud::GovernmentHsm,
];

/// Reads `azurekms://HOST/KEY[/VERSION]`.
///
/// # Errors
/// When it is not of that form, or the host is not one of a vault: tokens are sent to vaults only.
pub fn parse(text: &str) -> Result<KeyId, ReferenceError> {
    let error = |problem| ReferenceError {
        problem,
        example: EXAMPLE,
    };
    let rest = text
        .strip_prefix("azurekms://")
        .ok_or_else(|| error("the reference does not begin with `azurekms://`"))?;
    let (host, key) = rest
        .split_once('/')
        .ok_or_else(|| error("the key is missing after the vault's host name"))?;
    let host = host.to_ascii_lowercase();
    let cloud = ALL_CLOUDS.into_iter().find(|cloud| {
        let label = host.strip_suffix(cloud.domain());
        let label = label.and_then(|label| label.strip_suffix('.'));
        label.is_some_and(|label| !label.is_empty() && is_name(label))
    });
    let cloud = cloud.ok_or_else(|| error(
        "the host is not VAULT.vault.azure.net or VAULT.managedhsm.azure.net, nor their like in another cloud",
    ))?;
    let (name, version) = match key.split_once('/') {
        Some((name, version)) => (name, Some(version)),
        None => (key, None),
    };
    if !(1..=127).contains(&name.len()) || !is_name(name) {
        return Err(error("the key's name is not letters, digits and hyphens"));
    }
    let is_version = |text: &str| {
        let is_part = |byte: u8| byte.is_ascii_alphanumeric();
        (1..=64).contains(&text.len()) && text.bytes().all(is_part)
    };
    if version.is_some_and(|version| !is_version(version)) {
        return Err(error("the version is not letters and digits"));
    }
    let vault = Url::parse(&format!("https://{host}/"))
        .map_err(|_invalid| error("the host is not the name of a host"))?;
    Ok(KeyId {
        host,
        vault,
        cloud,
        name: name.to_owned(),
        version: version.map(str::to_owned),
    })
}

fn is_name(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

impl KeyId {
    pub(super) fn host(&self) -> &str {
        &self.host
    }

    pub(super) fn vault_url(&self) -> Url {
        self.vault.clone()
    }

    pub(super) fn cloud(&self) -> Cloud {
        self.cloud
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The one version that may vouch; `None` for every one that is enabled.
    pub(super) fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }
}

impl Cloud {
    fn domain(self) -> &'static str {
        match self {
            Self::Public => "vault.azure.net",
            Self::PublicHsm => "managedhsm.azure.net",
            Self::China => "vault.azure.cn",
            Self::ChinaHsm => "managedhsm.azure.cn",
            Self::Government => "vault.usgovcloudapi.net",
            Self::GovernmentHsm => "managedhsm.usgovcloudapi.net",
        }
    }

    /// What a token must be for.
    pub(super) fn scope(self) -> String {
        format!("https://{}/.default", self.domain())
    }

    /// Who gives tokens, unless the environment says otherwise.
    pub(super) fn authority(self) -> &'static str {
        match self {
            Self::Public | Self::PublicHsm => "https://login.microsoftonline.com",
            Self::China | Self::ChinaHsm => "https://login.chinacloudapi.cn",
            Self::Government | Self::GovernmentHsm => "https://login.microsoftonline.us",
        }
    }
}
