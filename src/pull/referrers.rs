//! Lists of referrers: all pages of the upstream in one, or made from the referrers tag where the upstream has no such API.
//!
//! Pages may be large because somebody wants them to be. They are read once for all who ask at the same time, within one
//! limit for all of them, and are passed on in the words of the upstream without a copy of them.

use std::borrow::Cow;
use std::fmt::Display;
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt as _;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::{Caller, Missing, Pull, Refusal};
use crate::compute;
use crate::decision_log::Subject;
use crate::oci::{Manifest, PageQuery, Reference, Tag, media_type};
use crate::upstream::{self, FetchedManifest, Paging, PagingError, Purpose};

/// The referrers of a digest: an OCI index.
#[derive(Debug)]
pub struct ReferrersList {
    /// The index in pieces, which are parts of what the upstream sent.
    pub pieces: Vec<Bytes>,
}

/// The descriptors of all referrers. Clones share them.
pub(super) type Listing = Arc<Vec<Listed>>;

/// A referrer.
#[derive(Debug)]
pub(super) struct Listed {
    /// Its descriptor as the upstream wrote it.
    descriptor: Bytes,
    artifact_type: Option<String>,
}

const END: &[u8] = b"]}";

impl Pull {
    /// The referrers of a digest, all pages in one. Listing is not admitting: each manifest listed is decided about when
    /// it is asked for.
    ///
    /// # Errors
    /// The refusal that the client gets.
    pub async fn referrers(
        &self,
        subject: &Subject,
        artifact_type: Option<&str>,
        caller: Caller,
    ) -> Result<ReferrersList, Refusal> {
        let asked = caller.asking(format!("referrers/{}", subject.digest));
        self.covered(&subject.repository, &asked).await?;
        let listing = self.inner.listings.join(subject, &self.inner.tasks, || {
            let (pull, subject) = (self.clone(), subject.clone());
            async move { pull.list_referrers(&subject).await }.boxed()
        });
        let ended = listing.await.unwrap_or_else(|| Err(busy(subject)));
        match ended {
            Ok(listing) => Ok(render(&listing, artifact_type)),
            Err(error) => Err(self
                .refusal_for_upstream(error, &subject.repository, Missing::Name, &asked)
                .await),
        }
    }

    async fn list_referrers(&self, subject: &Subject) -> Result<Listing, upstream::Error> {
        let deadline = Instant::now() + self.inner.limits.decision_time_max;
        let listed = match self.referrers_pages(subject, deadline).await? {
            Some(listed) => listed,
            None => self.referrers_from_tag(subject, deadline).await?,
        };
        Ok(Arc::new(listed))
    }

    /// All pages joined; nothing when the upstream has no referrers API or answers something that is no index.
    async fn referrers_pages(
        &self,
        subject: &Subject,
        deadline: Instant,
    ) -> Result<Option<Vec<Listed>>, upstream::Error> {
        let limits = &self.inner.limits;
        let mut listed = Vec::new();
        let mut bytes_left = limits.referrers_bytes_max;
        let mut paging = Paging::default();
        let mut query: Option<&PageQuery> = None;
        for _page in 0..limits.list_pages_max {
            let page = self
                .inner
                .upstream
                .referrers(&subject.repository, &subject.digest, query, deadline)
                .await;
            let page = match page {
                Ok(page) => page,
                Err(upstream::Error::NotFound { .. } | upstream::Error::Unsupported { .. })
                    if query.is_none() =>
                {
                    return Ok(None);
                }
                // The list promised this page, so its absence does not end the list.
                Err(upstream::Error::NotFound { .. }) => {
                    return Err(incomplete(subject, "one of its pages is missing"));
                }
                Err(error) => return Err(error),
            };
            let bytes = u64::try_from(page.bytes.len()).unwrap_or(u64::MAX);
            bytes_left = bytes_left
                .checked_sub(bytes)
                .ok_or_else(|| too_large(subject, limits.referrers_bytes_max))?;
            let Some(manifests) = read_index(page.bytes, subject, deadline).await? else {
                if query.is_none() {
                    return Ok(None);
                }
                return Err(incomplete(subject, "one of its pages is no index"));
            };
            listed.extend(manifests);
            if listed.len() > limits.referrers_listed_max {
                break;
            }
            query = paging.follow(page.next).map_err(|error| match error {
                PagingError::Circle => self.too_many(subject),
                PagingError::UnusableLink => incomplete(subject, error),
            })?;
            if query.is_none() {
                return Ok(Some(listed));
            }
        }
        Err(self.too_many(subject))
    }

    /// A list beyond the limits is not cut: verifiers behind us would miss what was cut off.
    fn too_many(&self, subject: &Subject) -> upstream::Error {
        too_large(subject, self.inner.limits.list_bytes_max)
    }

    async fn referrers_from_tag(
        &self,
        subject: &Subject,
        deadline: Instant,
    ) -> Result<Vec<Listed>, upstream::Error> {
        let Ok(tag) = subject.digest.to_tag_prefix().parse::<Tag>() else {
            return Ok(Vec::new());
        };
        let fetched = self
            .inner
            .upstream
            .manifest(
                &subject.repository,
                &Reference::Tag(tag),
                Purpose::ReferrersTag,
                deadline,
            )
            .await;
        let manifest = match fetched {
            Ok(manifest) => manifest,
            Err(upstream::Error::NotFound { .. }) => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let size = manifest.bytes.len();
        let read = move || match Manifest::parse(&manifest.bytes, &manifest.content_type) {
            Ok(Manifest::Index(_)) => listed_in(&manifest.bytes),
            // Some tools put the one artifact itself under the tag.
            Ok(Manifest::Image(_)) => describe(&manifest).map(|artifact| vec![artifact]),
            Err(_) => None,
        };
        let listed = compute::run(size, deadline, read).await;
        let listed = listed
            .map_err(|_full| busy(subject))?
            .ok_or_else(|| incomplete(subject, "its referrers tag is no manifest"))?;
        if listed.len() > self.inner.limits.referrers_listed_max {
            return Err(self.too_many(subject));
        }
        Ok(listed)
    }
}

fn too_large(subject: &Subject, limit_bytes: u64) -> upstream::Error {
    upstream::Error::TooLarge {
        host: subject.repository.host().to_owned(),
        limit_bytes,
    }
}

fn busy(subject: &Subject) -> upstream::Error {
    upstream::Error::Congested {
        host: subject.repository.host().to_owned(),
    }
}

fn incomplete(subject: &Subject, reason: impl Display) -> upstream::Error {
    upstream::Error::Failed {
        host: subject.repository.host().to_owned(),
        reason: format!("its list of referrers is incomplete: {reason}"),
    }
}

/// Reads a page, a large one away from the threads that serve. Returns nothing if it is no index.
async fn read_index(
    bytes: Bytes,
    subject: &Subject,
    deadline: Instant,
) -> Result<Option<Vec<Listed>>, upstream::Error> {
    let size = bytes.len();
    let read = move || {
        Manifest::parse(&bytes, media_type::OCI_INDEX).ok()?;
        listed_in(&bytes)
    };
    let read = compute::run(size, deadline, read).await;
    read.map_err(|_full| busy(subject))
}

/// Returns the entries of an index, which are parts of its bytes.
fn listed_in(bytes: &Bytes) -> Option<Vec<Listed>> {
    #[derive(Deserialize)]
    struct Index<'i> {
        #[serde(borrow)]
        manifests: Vec<&'i RawValue>,
    }
    #[derive(Deserialize)]
    struct Entry<'e> {
        #[serde(borrow, rename = "artifactType")]
        artifact_type: Option<Cow<'e, str>>,
    }
    let index: Index<'_> = serde_json::from_slice(bytes).ok()?;
    let entries = index.manifests.into_iter().map(|entry| {
        let text = entry.get();
        let artifact_type = serde_json::from_str(text)
            .ok()
            .and_then(|entry: Entry<'_>| entry.artifact_type.map(Cow::into_owned));
        Listed {
            descriptor: bytes.slice_ref(text.as_bytes()),
            artifact_type,
        }
    });
    Some(entries.collect())
}

/// The descriptor of an artifact as a list of referrers has it (distribution specification, "Listing Referrers").
fn describe(manifest: &FetchedManifest) -> Option<Listed> {
    let document: serde_json::Value = serde_json::from_slice(&manifest.bytes).ok()?;
    let declared = document.get("mediaType").and_then(|value| value.as_str());
    let artifact_type = document.get("artifactType");
    let artifact_type = artifact_type.or_else(|| document.get("config")?.get("mediaType"));
    let mut descriptor = serde_json::json!({
        "mediaType": declared.unwrap_or(&manifest.content_type),
        "digest": manifest.digest.to_string(),
        "size": manifest.bytes.len(),
    });
    let optional = [
        ("artifactType", artifact_type),
        ("annotations", document.get("annotations")),
    ];
    let members = descriptor.as_object_mut()?;
    for (name, value) in optional {
        members.extend(value.map(|value| (name.to_owned(), value.clone())));
    }
    let text = Bytes::from(descriptor.to_string());
    Some(Listed {
        descriptor: manifest.hold.keep_for(text),
        artifact_type: artifact_type
            .and_then(|value| value.as_str())
            .map(str::to_owned),
    })
}

/// Puts the descriptors of one artifact type, or of all, into an index.
fn render(listing: &[Listed], artifact_type: Option<&str>) -> ReferrersList {
    let begin = format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","manifests":["#,
        media_type::OCI_INDEX
    );
    let mut pieces = vec![Bytes::from(begin)];
    let chosen = listing.iter().filter(|listed| {
        artifact_type.is_none_or(|wanted| listed.artifact_type.as_deref() == Some(wanted))
    });
    for listed in chosen {
        if pieces.len() > 1 {
            pieces.push(Bytes::from_static(b","));
        }
        pieces.push(listed.descriptor.clone());
    }
    pieces.push(Bytes::from_static(END));
    ReferrersList { pieces }
}
