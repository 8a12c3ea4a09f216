//! Whether an upstream is there and takes us as who we are: `GET /v2/` (distribution specification, "Determining
//! Support").

use http::Method;
use http::header::DATE;
use jiff::Timestamp;
use jiff::fmt::rfc2822;
use tokio::time::{Instant, timeout_at};

use super::exchange::{Ask, Part};
use super::http::HttpUpstream;
use super::status::{self, Kind};
use super::{Error, Purpose};

/// What an upstream that takes us says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probe {
    /// Its clock (`Date`), if it tells.
    pub date: Option<Timestamp>,
}

impl HttpUpstream {
    /// Asks the upstream of this canonical name whether it is there, with the credentials that are configured.
    ///
    /// # Errors
    /// As any request: `Denied` when it does not take us, `Failed` when there is no answer by the deadline.
    pub async fn probe(&self, name: &str, deadline: Instant) -> Result<Probe, Error> {
        let Some(host) = self.configured(name) else {
            return Err(Error::NotConfigured {
                host: name.to_owned(),
            });
        };
        let url = host.base.join("/v2/").map_err(|_error| Error::Failed {
            host: name.to_owned(),
            reason: "its address cannot be used".to_owned(),
        })?;
        let ask = Ask {
            method: Method::GET,
            url,
            accept: "application/json",
            part: Part::Whole,
            repository: "",
            purpose: Purpose::Tags,
        };
        let probing = async {
            let answer = host.ask(&ask, deadline).await?;
            let answer = status::check(name, Kind::Content, answer).await?;
            let date = answer.response.headers().get(DATE);
            let date = date.and_then(|date| date.to_str().ok());
            Ok(Probe {
                date: date.and_then(|date| rfc2822::parse(date).ok().map(|date| date.timestamp())),
            })
        };
        match timeout_at(deadline, probing).await {
            Ok(probed) => probed,
            Err(_elapsed) => Err(Error::Failed {
                host: name.to_owned(),
                reason: "no answer in time".to_owned(),
            }),
        }
    }
}
