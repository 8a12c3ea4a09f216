//! Lists: tags as the upstream pages them, and referrers, made from the referrers tag where the upstream has no such API.

use std::fmt::Display;

use bytes::Bytes;
use tokio::time::Instant;

use super::{Caller, Missing, Pull, RETRY_AFTER, Refusal};
use crate::admission::Asked;
use crate::decision_log::Subject;
use crate::oci::{Manifest, PageQuery, Reference, RepositoryName, Tag, media_type};
use crate::upstream::{self, FetchedManifest, NextPage, Page, Paging, PagingError, Purpose};

/// A page of tags.
#[derive(Debug)]
pub struct TagsList {
    /// Why there may be more tags that no next page leads to; the page itself arrived intact.
    pub incomplete: Option<String>,
    /// The body, a JSON object as the upstream sent it.
    pub bytes: Bytes,
    /// The upstream's query for the next page, when there is one.
    pub next: Option<PageQuery>,
}

/// The referrers of a digest.
#[derive(Debug)]
pub struct ReferrersList {
    /// An OCI index.
    pub bytes: Bytes,
}

impl Pull {
    /// A page of the repository's tags: the first one, or the one that `query` selects at the upstream.
    ///
    /// # Errors
    /// The refusal that the client gets.
    pub async fn tags(
        &self,
        repository: &RepositoryName,
        query: Option<&PageQuery>,
        caller: Caller,
    ) -> Result<TagsList, Refusal> {
        let asked = caller.asking("tags/list".to_owned());
        self.covered(repository, &asked).await?;
        let deadline = Instant::now() + self.inner.limits.decision_time_max;
        match self.inner.upstream.tags(repository, query, deadline).await {
            Ok(Page { bytes, next, .. }) => match parse_tags(&bytes) {
                Some(tags) => Ok(TagsList {
                    incomplete: (next == NextPage::Unusable).then(|| {
                        format!(
                            "the list of tags of {} goes on, but {}",
                            repository.host(),
                            PagingError::UnusableLink
                        )
                    }),
                    next: following(query, next),
                    bytes: render_tags(repository, &tags),
                }),
                // A page of status 200 that is something else, such as a login page, says nothing about the tags.
                None => Err(Refusal::Unavailable {
                    message: format!(
                        "{repository}: {} answered with something that is not a list of tags",
                        repository.host()
                    ),
                    retry_after: RETRY_AFTER,
                }),
            },
            Err(error) => Err(self
                .refusal_for_upstream(error, repository, Missing::Name, &asked)
                .await),
        }
    }

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
        let deadline = Instant::now() + self.inner.limits.decision_time_max;
        let listed = match self.referrers_pages(subject, deadline).await {
            Ok(Some(listed)) => Ok(listed),
            Ok(None) => self.referrers_from_tag(subject, deadline).await,
            Err(error) => Err(error),
        };
        match listed {
            Ok(mut listed) => {
                if let Some(wanted) = artifact_type {
                    listed.retain(|descriptor| {
                        descriptor
                            .get("artifactType")
                            .and_then(|value| value.as_str())
                            == Some(wanted)
                    });
                }
                Ok(ReferrersList {
                    bytes: render_index(&listed),
                })
            }
            Err(error) => Err(self
                .refusal_for_upstream(error, &subject.repository, Missing::Name, &asked)
                .await),
        }
    }

    pub(super) async fn covered(
        &self,
        repository: &RepositoryName,
        asked: &Asked,
    ) -> Result<(), Refusal> {
        match self.inner.admission.covers(repository) {
            Ok(()) => Ok(()),
            Err(denial) => Err(self.refuse(repository.as_str(), denial, asked).await),
        }
    }

    /// All pages joined; nothing when the upstream has no referrers API or answers something that is no index.
    async fn referrers_pages(
        &self,
        subject: &Subject,
        deadline: Instant,
    ) -> Result<Option<Vec<serde_json::Value>>, upstream::Error> {
        let mut listed: Vec<serde_json::Value> = Vec::new();
        let mut paging = Paging::default();
        let mut query: Option<&PageQuery> = None;
        for _page in 0..self.inner.limits.list_pages_max {
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
            let Some(manifests) = parse_index(&page.bytes) else {
                if query.is_none() {
                    return Ok(None);
                }
                return Err(incomplete(subject, "one of its pages is no index"));
            };
            listed.extend(manifests);
            if listed.len() > self.inner.limits.referrers_listed_max {
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
        upstream::Error::TooLarge {
            host: subject.repository.host().to_owned(),
            limit_bytes: self.inner.limits.list_bytes_max,
        }
    }

    async fn referrers_from_tag(
        &self,
        subject: &Subject,
        deadline: Instant,
    ) -> Result<Vec<serde_json::Value>, upstream::Error> {
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
        match fetched {
            Ok(manifest) => {
                let listed = match Manifest::parse(&manifest.bytes, &manifest.content_type) {
                    Ok(Manifest::Index(_)) => listed_in(&manifest.bytes),
                    // Some tools put the one artifact itself under the tag.
                    Ok(Manifest::Image(_)) => describe(&manifest).map(|artifact| vec![artifact]),
                    Err(_) => None,
                };
                let listed = listed
                    .ok_or_else(|| incomplete(subject, "its referrers tag is no manifest"))?;
                if listed.len() > self.inner.limits.referrers_listed_max {
                    return Err(self.too_many(subject));
                }
                Ok(listed)
            }
            Err(upstream::Error::NotFound { .. }) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }
}

fn incomplete(subject: &Subject, reason: impl Display) -> upstream::Error {
    upstream::Error::Failed {
        host: subject.repository.host().to_owned(),
        reason: format!("its list of referrers is incomplete: {reason}"),
    }
}

/// The query for the page after the one that `query` selected. `None` at the end of the list, and also if the next page is
/// the same again, because a client would ask in a circle.
fn following(query: Option<&PageQuery>, next: NextPage) -> Option<PageQuery> {
    match next {
        NextPage::None | NextPage::First | NextPage::Unusable => None,
        NextPage::At(next) => {
            Some(next).filter(|next| query.is_none_or(|query| !query.selects_same_page(next)))
        }
    }
}

fn parse_index(bytes: &[u8]) -> Option<Vec<serde_json::Value>> {
    Manifest::parse(bytes, media_type::OCI_INDEX).ok()?;
    listed_in(bytes)
}

fn listed_in(bytes: &[u8]) -> Option<Vec<serde_json::Value>> {
    let mut index: serde_json::Value = serde_json::from_slice(bytes).ok()?;
    match index.get_mut("manifests")?.take() {
        serde_json::Value::Array(manifests) => Some(manifests),
        serde_json::Value::Null
        | serde_json::Value::Bool(_)
        | serde_json::Value::Number(_)
        | serde_json::Value::String(_)
        | serde_json::Value::Object(_) => None,
    }
}

/// The descriptor of an artifact as a list of referrers has it (distribution specification, "Listing Referrers").
fn describe(manifest: &FetchedManifest) -> Option<serde_json::Value> {
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
    Some(descriptor)
}

fn render_index(manifests: &[serde_json::Value]) -> Bytes {
    let index = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": media_type::OCI_INDEX,
        "manifests": manifests,
    });
    index.to_string().into()
}

fn parse_tags(bytes: &[u8]) -> Option<Vec<String>> {
    #[derive(serde::Deserialize)]
    struct List {
        name: Option<serde::de::IgnoredAny>,
        // Registries write `null` for a repository without tags, or leave the key out.
        tags: Option<Vec<String>>,
    }
    let List { name, tags } = serde_json::from_slice(bytes).ok()?;
    let is_list = name.is_some() || tags.is_some();
    is_list.then(|| tags.unwrap_or_default())
}

fn render_tags(repository: &RepositoryName, tags: &[String]) -> Bytes {
    serde_json::json!({ "name": repository.repository(), "tags": tags })
        .to_string()
        .into()
}
