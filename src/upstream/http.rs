//! Registries as they are reached over HTTP (distribution specification v1.1).

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Method, StatusCode};
use tokio::time::{Instant, timeout_at};
use url::Url;

use super::body::Whole;
use super::config::{BuildError, Config};
use super::declared::Declared;
use super::exchange::{Answer, Ask, Part, halfway_to};
use super::host::{self, Host, Surroundings};
use super::neighbours::Neighbours;
use super::observer::{Observer, outcome};
use super::status::{self, Kind};
use super::{
    Error, FetchedBlob, FetchedManifest, ManifestHead, Page, Purpose, Upstream, body, clients, link,
};
use crate::limits::Limits;
use crate::oci::manifest::MEMORY_PER_BYTE;
use crate::oci::{Digest, PageQuery, Reference, RepositoryName, media_type};
use crate::shares::{Behalf, Patience, Reading};

/// All configured upstreams, over HTTP.
#[derive(Debug)]
pub struct HttpUpstream {
    hosts: HashMap<String, Host>,
    limits: Arc<Limits>,
    observer: Arc<dyn Observer>,
    reading: Reading,
}

const ACCEPT_ANY: &str = "*/*";
const ACCEPT_JSON: &str = "application/json";

impl HttpUpstream {
    /// Sets up the upstreams without asking any of them, so it works while all are down.
    ///
    /// # Errors
    /// When an endpoint, a CA file or credentials cannot be used as they are.
    pub fn new(
        config: Config,
        limits: Arc<Limits>,
        observer: Arc<dyn Observer>,
    ) -> Result<Self, BuildError> {
        let roots = clients::platform_roots();
        let ledger = observer.ledger();
        let reading = Reading::open(&ledger, &limits);
        let bases = config
            .hosts
            .iter()
            .map(|(name, config)| host::base(name, config));
        let bases = bases.collect::<Result<Vec<_>, _>>()?;
        let neighbours = Arc::new(Neighbours::new(bases.into_iter()));
        let surroundings = Surroundings {
            roots: &roots,
            proxy: &config.proxy,
            neighbours: &neighbours,
            limits: &limits,
            ledger: &ledger,
            reading: &reading,
        };
        let hosts = config.hosts.into_iter().map(|(name, host)| {
            let host = Host::new(&name, host, &surroundings)?;
            Ok((name, host))
        });
        let hosts = hosts.collect::<Result<_, BuildError>>()?;
        Ok(Self {
            hosts,
            limits,
            observer,
            reading,
        })
    }

    /// Returns the budget that bodies are read within.
    #[must_use]
    pub fn reading(&self) -> &Reading {
        &self.reading
    }

    pub(super) fn configured(&self, name: &str) -> Option<&Host> {
        self.hosts.get(name)
    }

    fn host(&self, repository: &RepositoryName) -> Result<&Host, Error> {
        let host = repository.host();
        self.hosts.get(host).ok_or_else(|| Error::NotConfigured {
            host: host.to_owned(),
        })
    }

    /// Runs `call` until `deadline` and tells the observer how it ended.
    async fn observed<T>(
        &self,
        repository: &RepositoryName,
        purpose: Purpose,
        deadline: Instant,
        call: impl Future<Output = Result<T, Error>> + Send,
    ) -> Result<T, Error> {
        let started = Instant::now();
        let host = repository.host();
        // The upstream is not to blame for the time that the request spent in our own queue.
        let patience = Patience::new(Behalf::current(), self.limits.stale_decision_time_max);
        let late = || {
            let host = host.to_owned();
            if patience.excuses_others() {
                return Error::Congested { host };
            }
            let reason = "no answer in time".to_owned();
            Error::Failed { host, reason }
        };
        let result = timeout_at(deadline, call)
            .await
            .unwrap_or_else(|_elapsed| Err(late()));
        let outcome = result.as_ref().map_or_else(outcome, |_| "ok");
        self.observer
            .finished(host, purpose, outcome, started.elapsed());
        result
    }

    async fn page(&self, host: &Host, ask: Ask<'_>, deadline: Instant) -> Result<Page, Error> {
        let answer = host.ask(&ask, deadline).await?;
        let answer = status::check(&host.name, Kind::List, answer).await?;
        let headers = answer.response.headers();
        let declared = Declared::of(headers);
        let next = link::next_page(headers, answer.response.url());
        let read = read(host, answer, self.limits.list_bytes_max, 1, deadline);
        let Whole { bytes, hold } = read.await?;
        declared.check_list(&host.name, &bytes)?;
        Ok(Page {
            bytes,
            content_type: declared.content_type,
            next,
            hold,
        })
    }
}

/// Reads the whole body. The place in the lane is held until it is there. At most half of the time that is left is spent
/// waiting for the budget.
async fn read(
    host: &Host,
    answer: Answer,
    limit_bytes: u64,
    weight: u64,
    deadline: Instant,
) -> Result<Whole, Error> {
    let Answer { response, permit } = answer;
    let wait_max = halfway_to(deadline).saturating_duration_since(Instant::now());
    let whole = host.read(response, limit_bytes, weight, wait_max).await;
    drop(permit);
    whole
}

#[async_trait]
impl Upstream for HttpUpstream {
    fn is_configured(&self, host: &str) -> bool {
        self.hosts.contains_key(host)
    }

    async fn manifest(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
        purpose: Purpose,
        deadline: Instant,
    ) -> Result<FetchedManifest, Error> {
        let call = async {
            let host = self.host(repository)?;
            let ask = manifest_ask(host, Method::GET, repository, reference, purpose)?;
            let answer = host.ask(&ask, deadline).await?;
            let answer = status::check(&host.name, Kind::Content, answer).await?;
            let declared = Declared::of(answer.response.headers());
            let limit_bytes = self.limits.manifest_bytes_max;
            let read = read(host, answer, limit_bytes, MEMORY_PER_BYTE, deadline);
            let Whole { bytes, hold } = read.await?;
            let digest = declared.check_manifest(&host.name, reference, &bytes)?;
            Ok(FetchedManifest {
                bytes,
                digest,
                content_type: declared.content_type,
                hold,
            })
        };
        self.observed(repository, purpose, deadline, call).await
    }

    async fn head_manifest(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
        purpose: Purpose,
        deadline: Instant,
    ) -> Result<ManifestHead, Error> {
        let call = async {
            let host = self.host(repository)?;
            let ask = manifest_ask(host, Method::HEAD, repository, reference, purpose)?;
            let answer = host.ask(&ask, deadline).await?;
            let answer = status::check(&host.name, Kind::Content, answer).await?;
            let digest = answer.response.headers().get("docker-content-digest");
            let digest = digest.and_then(|value| value.to_str().ok()?.parse().ok());
            Ok(ManifestHead { digest })
        };
        self.observed(repository, purpose, deadline, call).await
    }

    async fn blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        offset: u64,
        purpose: Purpose,
        deadline: Instant,
    ) -> Result<FetchedBlob, Error> {
        let call = async {
            let host = self.host(repository)?;
            let part = Part::From(offset);
            let ask = blob_ask(host, Method::GET, repository, digest, part, purpose)?;
            let answer = host.ask(&ask, deadline).await?;
            let answer = status::check(&host.name, Kind::Blob, answer).await?;
            // The body takes as long as its reader: the place in the lane is for those who wait for headers.
            let Answer { response, permit } = answer;
            drop(permit);
            let range = status::range(&host.name, &response, offset)?;
            let doubt = Declared::of(response.headers()).doubt(&host.name);
            let idle_time_max = self.limits.body_idle_time_max;
            let body = body::stream(host.name.clone(), response, range.body_bytes, idle_time_max);
            Ok(FetchedBlob {
                offset: range.offset,
                size: range.size,
                doubt,
                body,
            })
        };
        self.observed(repository, purpose, deadline, call).await
    }

    async fn small_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        limit_bytes: u64,
        purpose: Purpose,
        deadline: Instant,
    ) -> Result<Bytes, Error> {
        let call = async {
            let host = self.host(repository)?;
            let ask = blob_ask(host, Method::GET, repository, digest, Part::Whole, purpose)?;
            let answer = host.ask(&ask, deadline).await?;
            let answer = status::check(&host.name, Kind::Content, answer).await?;
            let declared = Declared::of(answer.response.headers());
            let read = read(host, answer, limit_bytes, 1, deadline).await;
            declared.check_blob(&host.name, digest, read.map(|whole| whole.bytes))
        };
        self.observed(repository, purpose, deadline, call).await
    }

    async fn confirm_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        size: u64,
        deadline: Instant,
    ) -> Result<(), Error> {
        let call = async {
            let host = self.host(repository)?;
            let ask =
                |method, part| blob_ask(host, method, repository, digest, part, Purpose::Blob);
            let heading = async {
                let answer = host.ask(&ask(Method::HEAD, Part::Whole)?, deadline).await?;
                let answer = status::check(&host.name, Kind::Content, answer).await?;
                check_size(&host.name, &answer, size)
            };
            match timeout_at(halfway_to(deadline), heading).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(later @ (Error::Throttled { .. } | Error::Congested { .. }))) => {
                    return Err(later);
                }
                Ok(Err(_)) | Err(_) => {}
            }
            let answer = host
                .ask(&ask(Method::GET, Part::FirstByte)?, deadline)
                .await?;
            // Only an empty blob has no first byte (RFC 9110 §15.5.17).
            let has_no_byte = answer.response.status() == StatusCode::RANGE_NOT_SATISFIABLE;
            if has_no_byte && digest.matches(&[]) {
                return Ok(());
            }
            let answer = status::check(&host.name, Kind::Blob, answer).await?;
            check_size(&host.name, &answer, size)?;
            body::drain(answer.response).await;
            Ok(())
        };
        self.observed(repository, Purpose::Blob, deadline, call)
            .await
    }

    async fn referrers(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        query: Option<&PageQuery>,
        deadline: Instant,
    ) -> Result<Page, Error> {
        let call = async {
            let host = self.host(repository)?;
            let mut url = url(host, repository, &format!("referrers/{digest}"))?;
            url.set_query(query.map(PageQuery::as_str));
            let ask = ask(
                Method::GET,
                url,
                repository,
                media_type::OCI_INDEX,
                Purpose::Referrers,
            );
            self.page(host, ask, deadline).await
        };
        self.observed(repository, Purpose::Referrers, deadline, call)
            .await
    }

    async fn tags(
        &self,
        repository: &RepositoryName,
        query: Option<&PageQuery>,
        deadline: Instant,
    ) -> Result<Page, Error> {
        let call = async {
            let host = self.host(repository)?;
            let mut url = url(host, repository, "tags/list")?;
            url.set_query(query.map(PageQuery::as_str));
            self.page(
                host,
                ask(Method::GET, url, repository, ACCEPT_JSON, Purpose::Tags),
                deadline,
            )
            .await
        };
        self.observed(repository, Purpose::Tags, deadline, call)
            .await
    }
}

/// Refuses an answer that is not one for a blob of this size.
fn check_size(host: &str, answer: &Answer, size: u64) -> Result<(), Error> {
    let announced = status::whole_size(&answer.response);
    Declared::of(answer.response.headers()).check_size(host, announced, size)
}

/// `<base>v2/<name>/<rest>`. Names, tags and digests need no escaping by their grammars.
fn url(host: &Host, repository: &RepositoryName, rest: &str) -> Result<Url, Error> {
    let text = format!("{}v2/{}/{rest}", host.base, repository.repository());
    Url::parse(&text).map_err(|_url| host.failed("the request has no URL"))
}

fn manifest_ask<'ask>(
    host: &Host,
    method: Method,
    repository: &'ask RepositoryName,
    reference: &Reference,
    purpose: Purpose,
) -> Result<Ask<'ask>, Error> {
    let rest = match reference {
        Reference::Tag(tag) => format!("manifests/{}", tag.as_str()),
        Reference::Digest(digest) => format!("manifests/{digest}"),
    };
    Ok(ask(
        method,
        url(host, repository, &rest)?,
        repository,
        media_type::ACCEPT_MANIFEST,
        purpose,
    ))
}

fn blob_ask<'ask>(
    host: &Host,
    method: Method,
    repository: &'ask RepositoryName,
    digest: &Digest,
    part: Part,
    purpose: Purpose,
) -> Result<Ask<'ask>, Error> {
    let url = url(host, repository, &format!("blobs/{digest}"))?;
    Ok(Ask {
        part,
        ..ask(method, url, repository, ACCEPT_ANY, purpose)
    })
}

fn ask<'ask>(
    method: Method,
    url: Url,
    repository: &'ask RepositoryName,
    accept: &'static str,
    purpose: Purpose,
) -> Ask<'ask> {
    Ask {
        method,
        url,
        accept,
        part: Part::Whole,
        repository: repository.repository(),
        purpose,
    }
}
