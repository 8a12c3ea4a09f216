//! How Google names keys and their versions.

use std::fmt;

use crate::keys::ReferenceError;

/// What a reference looks like.
pub const EXAMPLE: &str =
    "gcpkms://projects/PROJECT/locations/LOCATION/keyRings/RING/cryptoKeys/KEY[/versions/NUMBER]";

const COLLECTIONS: [&str; 4] = ["projects", "locations", "keyRings", "cryptoKeys"];

/// A key, or one version of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyName {
    key: String,
    version: Option<u64>,
}

/// Reads `gcpkms://projects/…/cryptoKeys/K`, with `/cryptoKeyVersions/N` or `/versions/N` when a version is pinned.
///
/// # Errors
/// When it is anything else.
pub fn parse(text: &str) -> Result<KeyName, ReferenceError> {
    let wrong = |problem| ReferenceError {
        problem,
        example: EXAMPLE,
    };
    let path = text
        .strip_prefix("gcpkms://")
        .ok_or_else(|| wrong("it does not begin with gcpkms://"))?;
    let mut segments = path.split('/');
    for collection in COLLECTIONS {
        if segments.next() != Some(collection) {
            return Err(wrong(
                "it does not consist of projects, locations, keyRings and cryptoKeys",
            ));
        }
        if !segments.next().is_some_and(is_identifier) {
            return Err(wrong(
                "a project, location, key ring or key has no valid name",
            ));
        }
    }
    let version = match (segments.next(), segments.next(), segments.next()) {
        (None, _, _) => None,
        (Some("cryptoKeyVersions" | "versions"), Some(number), None) => {
            let number = version_number(number);
            Some(number.ok_or_else(|| wrong("the version is not a number from 1"))?)
        }
        (Some(_), _, _) => return Err(wrong("what follows the key is not one version of it")),
    };
    let end = version.and_then(|_| path.rmatch_indices('/').nth(1));
    let key = end.map_or(path, |(end, _)| path.split_at(end).0);
    Ok(KeyName {
        key: key.to_owned(),
        version,
    })
}

impl KeyName {
    /// The key's resource name, without a version.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The one version that may vouch, when the reference names one.
    #[must_use]
    pub fn pinned(&self) -> Option<u64> {
        self.version
    }

    /// The resource name of a version.
    pub(super) fn version(&self, number: u64) -> String {
        format!("{}/cryptoKeyVersions/{number}", self.key)
    }

    /// The number of the version of this key that the resource name is of.
    pub(super) fn number_of(&self, name: &str) -> Option<u64> {
        let rest = name.strip_prefix(&self.key)?;
        version_number(rest.strip_prefix("/cryptoKeyVersions/")?)
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.key)
    }
}

/// Projects may be `example.com:project`; all other names have fewer characters to choose from.
fn is_identifier(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
    !text.is_empty() && text.bytes().all(is_allowed) && text.bytes().any(|byte| byte != b'.')
}

/// Google counts versions from 1, and writes the number in one way.
fn version_number(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    (number > 0 && number.to_string() == text).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "projects/p1/locations/us/keyRings/test_keyring/cryptoKeys/cosign_key";

    #[test]
    fn a_key_without_version() {
        let name = parse(&format!("gcpkms://{KEY}")).unwrap();
        assert_eq!((name.key(), name.pinned()), (KEY, None));
    }

    #[test]
    fn both_spellings_of_a_version() {
        for spelling in ["versions", "cryptoKeyVersions"] {
            let name = parse(&format!("gcpkms://{KEY}/{spelling}/12")).unwrap();
            assert_eq!((name.key(), name.pinned()), (KEY, Some(12)));
            assert_eq!(name.version(12), format!("{KEY}/cryptoKeyVersions/12"));
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for wrong in [
            KEY.to_owned(),
            format!("awskms://{KEY}"),
            format!("gcpkms:///{KEY}"),
            format!("gcpkms://{KEY}/"),
            format!("gcpkms://{KEY}/versions"),
            format!("gcpkms://{KEY}/versions/"),
            format!("gcpkms://{KEY}/versions/0"),
            format!("gcpkms://{KEY}/versions/01"),
            format!("gcpkms://{KEY}/versions/+1"),
            format!("gcpkms://{KEY}/versions/1/"),
            format!("gcpkms://{KEY}/versions/1/publicKey"),
            format!("gcpkms://{KEY}/others/1"),
            "gcpkms://projects/p/locations/l/keyRings/r".to_owned(),
            "gcpkms://projects/../locations/l/keyRings/r/cryptoKeys/k".to_owned(),
            "gcpkms://projects/p/locations/l/keyRings/r/cryptoKeys/k?a=b".to_owned(),
            "gcpkms://projects//locations/l/keyRings/r/cryptoKeys/k".to_owned(),
            "gcpkms://projects/p/locations/l/keyrings/r/cryptoKeys/k".to_owned(),
        ] {
            let error = parse(&wrong).expect_err(&wrong).to_string();
            assert!(error.contains(EXAMPLE), "{error}");
        }
    }

    #[test]
    fn a_version_of_another_key_has_no_number() {
        let name = parse(&format!("gcpkms://{KEY}")).unwrap();
        assert_eq!(
            name.number_of(&format!("{KEY}/cryptoKeyVersions/10")),
            Some(10)
        );
        for other in [
            format!("{KEY}2/cryptoKeyVersions/1"),
            format!("{KEY}/cryptoKeyVersions/x"),
            format!("{KEY}/cryptoKeyVersions/1/more"),
            format!("x{KEY}/cryptoKeyVersions/1"),
            KEY.to_owned(),
        ] {
            assert_eq!(name.number_of(&other), None, "{other}");
        }
    }
}
