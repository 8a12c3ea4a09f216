//! The ways in which registries page their lists.

use serde_json::Value;

use super::Repository;

/// How a repository pages its tags and its referrers.
#[derive(Debug, Clone)]
pub(crate) struct Paging {
    by: PagingBy,
    size: usize,
    origin: Option<String>,
}

/// The parameter by which pages go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PagingBy {
    /// `last=<last entry>`, as the distribution specification has it.
    LastEntry,
    /// `next_page=<token>`, as Quay does it. `last` is ignored.
    NextPage,
    /// `last=<token>`, as ECR does it: another `last` is refused, and entries are not sorted.
    OpaqueLast,
    /// The parameter is ignored, so that the first page comes again and again.
    Nothing,
}

/// One page.
pub(super) struct Page<T> {
    pub(super) entries: Vec<T>,
    /// The value of `Link`, if another page follows.
    pub(super) link: Option<String>,
}

impl Paging {
    /// Pages of `size` entries, with relative links.
    pub(crate) fn new(by: PagingBy, size: usize) -> Self {
        Self {
            by,
            size,
            origin: None,
        }
    }

    /// The same with links to this origin.
    pub(crate) fn at(mut self, origin: &str) -> Self {
        self.origin = Some(origin.to_owned());
        self
    }

    /// The page of `all` that `query` selects. `None` if the registry refuses the query.
    pub(super) fn page<T: Clone>(
        &self,
        mut all: Vec<(String, T)>,
        path: &str,
        query: &str,
    ) -> Option<Page<T>> {
        let value = |name: &str| {
            url::form_urlencoded::parse(query.as_bytes())
                .find(|(key, _)| key == name)
                .map(|(_, value)| value.into_owned())
        };
        if self.by == PagingBy::OpaqueLast {
            all.reverse();
        }
        let token = |prefix: &str, text: &str| text.strip_prefix(prefix)?.parse::<usize>().ok();
        let start = match (self.by, value("next_page"), value("last")) {
            (PagingBy::LastEntry, _, Some(last)) => {
                all.iter().take_while(|(key, _)| *key <= last).count()
            }
            (PagingBy::NextPage, Some(next), _) => token("gAAA=", &next)?,
            (PagingBy::OpaqueLast, _, Some(last)) => token("eyJ/+", &last)?,
            _ => 0,
        };
        let size = value("n").and_then(|n| n.parse().ok()).unwrap_or(self.size);
        let end = (start + size.min(self.size)).min(all.len());
        let entries = all.get(start..end)?;
        let next = match self.by {
            PagingBy::LastEntry => {
                let last = entries.last().map_or("", |(key, _)| key);
                format!("n={size}&last={last}")
            }
            PagingBy::NextPage => format!("next_page=gAAA%3D{end}&n={size}"),
            PagingBy::OpaqueLast => format!("last=eyJ%2F%2B{end}"),
            PagingBy::Nothing => format!("page={size}"),
        };
        let origin = self.origin.as_deref().unwrap_or_default();
        Some(Page {
            link: (end < all.len()).then(|| format!("<{origin}{path}?{next}>; rel=\"next\"")),
            entries: entries.iter().map(|(_, entry)| entry.clone()).collect(),
        })
    }
}

impl Repository {
    /// The page of the tags that `query` selects.
    pub(super) fn page_of_tags(&self, path: &str, query: &str) -> Option<Page<String>> {
        let all = self.tags.keys().map(|tag| (tag.clone(), tag.clone()));
        let paging = self.paging.clone();
        paging
            .unwrap_or_else(|| Paging::new(PagingBy::LastEntry, 1000))
            .page(all.collect(), path, query)
    }

    /// The page of the referrers of `digest` that `query` selects.
    pub(super) fn page_of_referrers(
        &self,
        digest: &str,
        path: &str,
        query: &str,
    ) -> Option<Page<Value>> {
        let all = self.referrers(digest);
        let key = |listed: &Value| listed["digest"].as_str().unwrap().to_owned();
        let all = all.into_iter().map(|listed| (key(&listed), listed));
        let paging = self.paging.clone();
        paging
            .unwrap_or_else(|| Paging::new(PagingBy::LastEntry, usize::MAX))
            .page(all.collect(), path, query)
    }
}
