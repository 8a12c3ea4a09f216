//! `awskms://[ENDPOINT]/KEY`, as cosign spells it.

use url::Url;

use crate::keys::{ReferenceError, rest};

/// A key of AWS KMS, as a reference names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyId {
    endpoint: Option<Url>,
    id: String,
    arn: Option<ArnPrefix>,
    is_alias: bool,
}

/// `arn:PARTITION:kms:REGION:ACCOUNT:`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ArnPrefix {
    text: String,
    region: String,
}

const EXAMPLE: &str =
    "awskms:///arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";

/// Reads `awskms://[ENDPOINT]/KEY`: an id, `alias/NAME`, or the ARN of a key or alias.
///
/// # Errors
/// When it is not of that form.
pub fn parse(text: &str) -> Result<KeyId, ReferenceError> {
    let error = |problem| ReferenceError {
        problem,
        example: EXAMPLE,
    };
    let rest = text
        .strip_prefix("awskms://")
        .ok_or_else(|| error("the reference does not begin with `awskms://`"))?;
    let (endpoint, id) = rest.split_once('/').ok_or_else(|| {
        error("a third slash is missing between the endpoint, which may be empty, and the key")
    })?;
    let endpoint = match endpoint {
        "" => None,
        host => Some(endpoint_url(host).ok_or_else(|| error("the endpoint is not host[:port]"))?),
    };
    let (arn, resource) = match id.strip_prefix("arn:") {
        Some(_) => {
            let (arn, resource) = ArnPrefix::split(id).ok_or_else(|| {
                error("the ARN is not arn:PARTITION:kms:REGION:ACCOUNT:key/ID or …:alias/NAME")
            })?;
            (Some(arn), resource)
        }
        None => (None, id),
    };
    let is_alias = resource.starts_with("alias/");
    let key = match &arn {
        Some(_) => resource.strip_prefix("key/"),
        None => Some(resource),
    };
    let is_valid = match resource.strip_prefix("alias/") {
        Some(name) => is_alias_name(name),
        None => key.is_some_and(is_key_id),
    };
    if !is_valid {
        return Err(error(
            "the key is neither an id (a UUID, or `mrk-` and 32 hexadecimal digits), nor `alias/NAME`, nor an ARN",
        ));
    }
    Ok(KeyId {
        endpoint,
        id: id.to_owned(),
        arn,
        is_alias,
    })
}

impl KeyId {
    /// What the API is asked for.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn endpoint(&self) -> Option<&Url> {
        self.endpoint.as_ref()
    }

    /// The region that its ARN names.
    pub(super) fn region(&self) -> Option<&str> {
        self.arn.as_ref().map(|arn| arn.region.as_str())
    }

    pub(super) fn is_alias(&self) -> bool {
        self.is_alias
    }

    /// Whether the key with this ARN can be the one that was asked for.
    pub(super) fn names(&self, key_arn: &str) -> bool {
        let Some((prefix, resource)) = ArnPrefix::split(key_arn) else {
            return false;
        };
        let Some(key) = resource.strip_prefix("key/").filter(|key| is_key_id(key)) else {
            return false;
        };
        if self.arn.as_ref().is_some_and(|asked| *asked != prefix) {
            return false;
        }
        // Which key an alias leads to is the service's to say.
        let asked = self.id.rsplit_once("key/").map_or(&*self.id, |(_, id)| id);
        self.is_alias || asked.eq_ignore_ascii_case(key)
    }
}

impl ArnPrefix {
    fn split(arn: &str) -> Option<(Self, &str)> {
        let mut parts = arn.splitn(6, ':');
        let (scheme, partition) = (parts.next()?, parts.next()?);
        let (service, region, account) = (parts.next()?, parts.next()?, parts.next()?);
        let resource = parts.next()?;
        let is_label = |text: &str| {
            let is_part =
                |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            !text.is_empty() && text.bytes().all(is_part)
        };
        let is_account = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
        let is_valid = scheme == "arn"
            && service == "kms"
            && partition.starts_with("aws")
            && is_label(partition)
            && is_label(region)
            && is_account;
        let text = arn.strip_suffix(resource)?.to_owned();
        let region = region.to_owned();
        is_valid.then_some((Self { text, region }, resource))
    }
}

/// `host[:port]` over TLS; without it on this machine, where emulators run.
fn endpoint_url(host: &str) -> Option<Url> {
    let secure = Url::parse(&format!("https://{host}/")).ok()?;
    let is_plain = secure.path() == "/"
        && secure.username().is_empty()
        && secure.password().is_none()
        && secure.query().is_none()
        && secure.fragment().is_none();
    if !is_plain {
        return None;
    }
    if rest::is_loopback(&secure) {
        return Url::parse(&format!("http://{host}/")).ok();
    }
    Some(secure)
}

fn is_key_id(text: &str) -> bool {
    let is_hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if let Some(digits) = text.strip_prefix("mrk-") {
        return digits.len() == 32 && is_hex(digits);
    }
    let groups: Vec<&str> = text.split('-').collect();
    let lengths = groups.iter().map(|group| group.len());
    lengths.eq([8, 4, 4, 4, 12]) && groups.iter().all(|group| is_hex(group))
}

fn is_alias_name(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"/_-".contains(&byte);
    (1..=250).contains(&text.len()) && text.bytes().all(is_part)
}
