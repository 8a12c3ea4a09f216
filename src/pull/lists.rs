//! Lists of tags, as the upstream pages them.

use bytes::Bytes;
use tokio::time::Instant;

use super::{Caller, Missing, Pull, RETRY_AFTER, Refusal};
use crate::admission::Asked;
use crate::compute;
use crate::oci::{PageQuery, RepositoryName};
use crate::upstream::{NextPage, Page, PagingError};

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
            Ok(Page {
                bytes, next, hold, ..
            }) => match render_tags(repository, bytes, deadline).await? {
                Some(tags) => Ok(TagsList {
                    incomplete: (next == NextPage::Unusable).then(|| {
                        format!(
                            "the list of tags of {} goes on, but {}",
                            repository.host(),
                            PagingError::UnusableLink
                        )
                    }),
                    next: following(query, next),
                    bytes: hold.keep_for(tags),
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

/// Writes the list anew under the name that this proxy gives the repository; a large one away from the threads that serve.
/// Returns nothing if the upstream sent no list of tags.
async fn render_tags(
    repository: &RepositoryName,
    bytes: Bytes,
    deadline: Instant,
) -> Result<Option<Bytes>, Refusal> {
    let (size, name) = (bytes.len(), repository.repository().to_owned());
    let render = move || {
        let tags = parse_tags(&bytes)?;
        let list = serde_json::json!({ "name": name, "tags": tags });
        Some(Bytes::from(list.to_string()))
    };
    let rendered = compute::run(size, deadline, render).await;
    rendered.map_err(|full| Refusal::Unavailable {
        message: format!("{repository}: {full}"),
        retry_after: RETRY_AFTER,
    })
}
