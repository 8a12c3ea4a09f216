//! The referrers API with its pages, and the referrers tag of registries without it (distribution specification v1.1,
//! "Listing Referrers" and "Referrers Tag Schema").

use std::collections::HashSet;
use std::fmt::Display;

use futures::FutureExt;
use futures::stream::{self, StreamExt};

use super::relevance::{may_be_signature, says_it_is_another};
use super::{Discovery, Failure, Gathered, Place, Request, busy, read_manifest};
use crate::oci::manifest::{Index, ParseError};
use crate::oci::{Descriptor, Manifest, PageQuery, Reference, Tag, media_type};
use crate::upstream::{self, Paging, PagingError};

/// Referrers that are opened at the same time.
const CONCURRENT_REFERRERS: usize = 8;

impl Discovery {
    /// The referrers API. Opens the entries of every page that arrived, because they may suffice to admit.
    pub(super) async fn referrers_api(&self, place: Place<'_>, request: &Request) -> Gathered {
        let mut listed = Vec::new();
        let ended = self.list_referrers(place, request, &mut listed).await;
        let mut gathered = self.open_all(place, listed).await;
        if let Err(incomplete) = ended {
            gathered.absorb(incomplete);
        }
        gathered
    }

    /// Reads all pages into `listed`. Returns the reason as an error if there may be more referrers.
    async fn list_referrers(
        &self,
        place: Place<'_>,
        request: &Request,
        listed: &mut Vec<Descriptor>,
    ) -> Result<(), Gathered> {
        let mut paging = Paging::default();
        let mut query: Option<&PageQuery> = None;
        for _page in 0..self.limits.list_pages_max {
            let page = self
                .upstream
                .referrers(place.repository, &request.digest, query, place.deadline)
                .await;
            let page = match page {
                Ok(page) => page,
                // The endpoint is not there: the specification sends us to the tag, which is asked anyway.
                Err(upstream::Error::Unsupported { .. } | upstream::Error::NotFound { .. })
                    if query.is_none() =>
                {
                    return Ok(());
                }
                // The list promised this page, so its absence does not end the list.
                Err(error @ upstream::Error::NotFound { .. }) => {
                    return Err(Gathered::failed((&error).into()));
                }
                Err(error) => return Err(Gathered::from_error(&error)),
            };
            let read = read_manifest(page.bytes, media_type::OCI_INDEX.to_owned(), place);
            let read = read.await.map_err(|_full| busy(place))?;
            let Ok(Manifest::Index(index)) = read else {
                // Some registries answer every unknown path with 200 (sigstore-js#1187). Further pages of a list are
                // a list.
                return if query.is_none() {
                    Ok(())
                } else {
                    Err(incomplete(place, "one of its pages is no index"))
                };
            };
            listed.extend(index.manifests);
            if listed.len() > self.limits.referrers_listed_max {
                return Err(self.too_many_listed(listed.len()));
            }
            query = paging.follow(page.next).map_err(|error| match error {
                // Such a list exceeds every limit.
                PagingError::Circle => {
                    Gathered::limited(format!("the list of referrers does not end: {error}"))
                }
                PagingError::UnusableLink => incomplete(place, error),
            })?;
            if query.is_none() {
                return Ok(());
            }
        }
        Err(Gathered::limited(format!(
            "the referrers have more than {} pages (`limits.list_pages_max`)",
            self.limits.list_pages_max
        )))
    }

    pub(super) async fn referrers_tag(&self, place: Place<'_>, request: &Request) -> Gathered {
        let Ok(tag) = request.digest.to_tag_prefix().parse::<Tag>() else {
            return Gathered::default();
        };
        let fetched = self
            .upstream
            .manifest(
                place.repository,
                &Reference::Tag(tag),
                place.purpose,
                place.deadline,
            )
            .await;
        let manifest = match fetched {
            Ok(manifest) => manifest,
            Err(error) => return Gathered::from_error(&error),
        };
        let (bytes, content_type) = (manifest.bytes.clone(), manifest.content_type.clone());
        let Ok(read) = read_manifest(bytes, content_type, place).await else {
            return busy(place);
        };
        match read {
            Ok(Manifest::Index(Index { manifests: listed })) => {
                let count = listed.len();
                let mut gathered = self.open_all(place, listed).await;
                if count > self.limits.referrers_listed_max {
                    gathered.absorb(self.too_many_listed(count));
                }
                gathered
            }
            Ok(Manifest::Image(_)) => {
                // Some tools put the one artifact itself under the tag.
                self.open(place, manifest, None).await
            }
            // A document that names another type is something else that somebody put under the tag.
            Err(ParseError::MediaType(_)) => Gathered::default(),
            // A list that cannot be read hides its entries, as a broken further page of the referrers API does.
            Err(error) => incomplete(place, format!("the referrers tag cannot be read: {error}")),
        }
    }

    fn too_many_listed(&self, listed: usize) -> Gathered {
        Gathered::limited(format!(
            "{listed} referrers are listed, more than {} (`limits.referrers_listed_max`)",
            self.limits.referrers_listed_max
        ))
    }

    /// Opens everything that may be a signature, up to the limit. Material that can satisfy the policies comes first. A
    /// refusal is `limit_exceeded` if something was left out.
    async fn open_all(&self, place: Place<'_>, listed: Vec<Descriptor>) -> Gathered {
        let mut seen = HashSet::new();
        let distinct = listed
            .into_iter()
            .rev()
            .filter(|descriptor| may_be_signature(descriptor) && seen.insert(descriptor.digest));
        let mut newest_last: Vec<_> = distinct.collect();
        newest_last.reverse();
        let mut worth_opening = place.wanted.in_opening_order(newest_last);
        let mut gathered = Gathered::default();
        if worth_opening.len() > self.limits.referrers_opened_max {
            gathered.limit_exceeded = Some(format!(
                "{} referrers may be signatures, more than {} (`limits.referrers_opened_max`)",
                worth_opening.len(),
                self.limits.referrers_opened_max
            ));
            worth_opening.truncate(self.limits.referrers_opened_max);
        }
        let opening: Vec<_> = worth_opening
            .iter()
            .map(|descriptor| self.open_one(place, descriptor).boxed())
            .collect();
        let mut opened = stream::iter(opening).buffered(CONCURRENT_REFERRERS);
        while let Some(one) = opened.next().await {
            gathered.absorb(one);
        }
        gathered
    }

    async fn open_one(&self, place: Place<'_>, descriptor: &Descriptor) -> Gathered {
        let reference = Reference::Digest(descriptor.digest);
        match self
            .upstream
            .manifest(place.repository, &reference, place.purpose, place.deadline)
            .await
        {
            Ok(manifest) => {
                let relevance = place.wanted.referrer(descriptor);
                self.open(place, manifest, Some(relevance)).await
            }
            Err(upstream::Error::TooLarge { limit_bytes, .. }) => Gathered::limited(format!(
                "the referrer {} is larger than {limit_bytes} bytes (`limits.manifest_bytes_max`)",
                descriptor.digest
            )),
            // Listed and gone: definite, and no reason to doubt the others. Whoever must have seen all of them has not,
            // unless it says that it was something else: clients leave entries of what was deleted in referrers tags.
            Err(upstream::Error::NotFound { .. }) => Gathered {
                absent: if says_it_is_another(descriptor) {
                    Vec::new()
                } else {
                    vec![descriptor.digest]
                },
                ..Gathered::default()
            },
            Err(error) => Gathered::from_error(&error),
        }
    }
}

fn incomplete(place: Place<'_>, reason: impl Display) -> Gathered {
    let host = place.repository.host();
    Gathered::failed(Failure {
        reason: format!("the list of referrers of {host} is incomplete: {reason}"),
        unreachable: false,
    })
}
