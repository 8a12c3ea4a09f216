//! A TUF repository that arrives as a whole, without a network: gzip over tar, as policy-controller's `TrustRoot` has it.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::Arc;

use flate2::read::GzDecoder;
use jiff::Timestamp;
use sigstore_tuf::Repository;
use sigstore_tuf::transport::FetchFuture;

use super::roots::Error;
use super::{metadata, repository};
use crate::verify::TrustedRoot;

/// The most bytes that an archive may hold once it is unpacked.
pub const ARCHIVE_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// The most files in an archive.
const FILES_MAX: usize = 1000;
/// The directory that such archives have around everything.
const PREFIX: &str = "repository/";

/// The files of a repository, by their paths.
struct Archive {
    files: BTreeMap<String, Vec<u8>>,
    /// The directory of the targets.
    targets: String,
}

/// The trusted root that an archived repository vouches for, and until when it does: every signature, version, length
/// and hash is verified from the initial root on.
///
/// # Errors
/// When the archive cannot be unpacked or is too large, or the repository in it does not verify or has no usable target
/// of that name.
pub fn trusted_root(
    initial: &[u8],
    archive: &[u8],
    targets: &str,
    target: &str,
) -> Result<(Arc<TrustedRoot>, Timestamp), Error> {
    if !metadata::is_plain_path(target) {
        return Err(Error::Target {
            target: target.to_owned(),
        });
    }
    metadata::read_initial(initial).map_err(Error::InitialRoot)?;
    let archive = Archive {
        files: unpack(archive).map_err(Error::Archive)?,
        targets: targets.to_owned(),
    };
    let verified = metadata::at_hand(initial, archive, target).map_err(Error::Repository)?;
    let root = repository::usable(&verified.target)?;
    Ok((root, verified.summary.expires))
}

fn unpack(bytes: &[u8]) -> io::Result<BTreeMap<String, Vec<u8>>> {
    let too_large = || io::Error::new(io::ErrorKind::InvalidData, "the archive is too large");
    let unpacked = GzDecoder::new(bytes).take(ARCHIVE_BYTES_MAX + 1);
    let mut archive = tar::Archive::new(unpacked);
    let mut files = BTreeMap::new();
    let mut total = 0;
    for entry in archive.entries()? {
        let mut entry = entry?;
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let path = entry.path()?.to_string_lossy().into_owned();
        let path = path.trim_start_matches("./").trim_start_matches('/');
        let path = path.strip_prefix(PREFIX).unwrap_or(path).to_owned();
        total = sum(total, entry.size()).ok_or_else(too_large)?;
        if files.len() == FILES_MAX {
            return Err(too_large());
        }
        let mut content = Vec::new();
        entry.read_to_end(&mut content)?;
        files.insert(path, content);
    }
    Ok(files)
}

/// Returns the bytes of all files so far, if they are within the limit. An archive may announce any size.
fn sum(total: u64, size: u64) -> Option<u64> {
    let total = total.checked_add(size)?;
    (total <= ARCHIVE_BYTES_MAX).then_some(total)
}

impl Repository for Archive {
    fn fetch_metadata<'a>(&'a self, name: &'a str, bytes_max: u64) -> FetchFuture<'a> {
        self.fetch(name, bytes_max)
    }

    fn fetch_target<'a>(&'a self, path: &'a str, bytes_max: u64) -> FetchFuture<'a> {
        self.fetch(&format!("{}/{path}", self.targets), bytes_max)
    }
}

impl Archive {
    fn fetch(&self, path: &str, bytes_max: u64) -> FetchFuture<'_> {
        let found = self.files.get(path).cloned();
        let outcome = match found {
            Some(bytes) if bytes.len() as u64 > bytes_max => Err(sigstore_tuf::Error::Malformed(
                format!("{path} is larger than {bytes_max} bytes"),
            )),
            found => Ok(found),
        };
        Box::pin(async move { outcome })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_that_exceed_the_limit_or_every_number_are_refused() {
        assert_eq!(sum(0, ARCHIVE_BYTES_MAX), Some(ARCHIVE_BYTES_MAX));
        assert_eq!(sum(1, ARCHIVE_BYTES_MAX), None);
        assert_eq!(sum(1, u64::MAX), None);
        assert_eq!(
            sum(ARCHIVE_BYTES_MAX, u64::MAX - ARCHIVE_BYTES_MAX + 1),
            None
        );
    }
}
