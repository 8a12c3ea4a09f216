//! The tour: what is pulled, and how each pull should end.

use std::net::SocketAddr;

use super::client::{Client, Outcome, Pulled};
use crate::admission::Kind;
use crate::oci::Digest;

/// A pull on the tour, before it is made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    /// The canonical name.
    pub(super) repository: &'static str,
    pub(super) what: What,
    /// What there is to see.
    pub(super) about: &'static str,
    /// Absent where it should be served.
    pub(super) refused_as: Option<Kind>,
}

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub(super) enum What {
    /// A manifest by tag or digest, and then what it refers to.
    Image(&'static str),
    /// A blob by digest.
    Blob(&'static str),
}

/// A pull that was made twice.
#[derive(Debug)]
pub(super) struct Stop {
    pub(super) plan: Plan,
    pub(super) cold: Pulled,
    pub(super) warm: Pulled,
}

const AMD64: &str = "sha256:59fa95e6bd31c2695fd3e517d91b3891885eeddab8fe2a1fb1b5530c5152534a";
const LAYER_OF_UNSIGNED: &str =
    "sha256:30ef2d1b8055ddc0caec9c451cde3597889bff405cf7f26d469460b376f81c1b";

const PLANS: &[Plan] = &[
    Plan {
        repository: "registry.example/shop/api",
        what: What::Image("v1"),
        about: "signed by the shop's key",
        refused_as: None,
    },
    Plan {
        repository: "registry.example/shop/web",
        what: What::Image("v1"),
        about: "signed by the same key, as a bundle",
        refused_as: None,
    },
    Plan {
        repository: "registry.example/shop/worker",
        what: What::Image("v1"),
        about: "not signed",
        refused_as: Some(Kind::Unsigned),
    },
    Plan {
        repository: "registry.example/shop/worker",
        what: What::Blob(LAYER_OF_UNSIGNED),
        about: "its layer, asked for directly",
        refused_as: Some(Kind::NotEndorsed),
    },
    Plan {
        repository: "registry.example/shop/cart",
        what: What::Image("v1"),
        about: "tampered: another image's signature",
        refused_as: Some(Kind::WrongSubject),
    },
    Plan {
        repository: "registry.example/external-secrets/operator",
        what: What::Image("v1"),
        about: "signed keyless, by a GitHub workflow",
        refused_as: None,
    },
    Plan {
        repository: "registry.example/external-secrets/fork",
        what: What::Image("v1"),
        about: "signed by a look-alike organisation",
        refused_as: Some(Kind::WrongIdentity),
    },
    Plan {
        repository: "registry.example/platform/base",
        what: What::Image(AMD64),
        about: "linux/amd64 before its index",
        refused_as: Some(Kind::Unsigned),
    },
    Plan {
        repository: "registry.example/platform/base",
        what: What::Image("v1"),
        about: "the signed multi-platform index",
        refused_as: None,
    },
    Plan {
        repository: "registry.example/platform/base",
        what: What::Image(AMD64),
        about: "linux/amd64 after its index",
        refused_as: None,
    },
    Plan {
        repository: "registry.example/build/attested",
        what: What::Image("v1"),
        about: "signed, with the provenance demanded",
        refused_as: None,
    },
    Plan {
        repository: "registry.example/build/unattested",
        what: What::Image("v1"),
        about: "signed, without the provenance",
        refused_as: Some(Kind::AttestationMissing),
    },
    Plan {
        repository: "registry.example/somebody/else",
        what: What::Image("v1"),
        about: "no policy covers it",
        refused_as: Some(Kind::NoPolicy),
    },
    Plan {
        repository: "elsewhere.example/shop/api",
        what: What::Image("v1"),
        about: "a registry that is not configured",
        refused_as: Some(Kind::UpstreamNotAllowed),
    },
];

/// Pulls everything in order, each twice in a row.
pub(super) async fn run(proxy: SocketAddr) -> Result<Vec<Stop>, reqwest::Error> {
    let client = Client::new(proxy)?;
    let mut stops = Vec::new();
    for plan in PLANS {
        stops.push(Stop {
            plan: *plan,
            cold: plan.pull(&client).await,
            warm: plan.pull(&client).await,
        });
    }
    Ok(stops)
}

impl Plan {
    async fn pull(&self, client: &Client) -> Pulled {
        match self.what {
            What::Image(reference) => client.pull(self.repository, reference).await,
            What::Blob(digest) => match digest.parse::<Digest>() {
                Ok(digest) => client.pull_blob(self.repository, &digest).await,
                Err(error) => Pulled {
                    outcome: Outcome::Broken(error.to_string()),
                    elapsed: std::time::Duration::ZERO,
                },
            },
        }
    }

    /// How the pull should end.
    pub(super) fn expected(&self) -> String {
        match self.refused_as {
            None => "served".to_owned(),
            Some(kind) => format!("refused: {}", kind.as_str()),
        }
    }

    fn expects(&self, outcome: &Outcome) -> bool {
        match (self.refused_as, outcome) {
            (None, Outcome::Served) => true,
            (Some(expected), Outcome::Refused { kind, .. }) => expected.as_str() == kind,
            (None | Some(_), Outcome::Served | Outcome::Refused { .. } | Outcome::Broken(_)) => {
                false
            }
        }
    }
}

impl Stop {
    /// Whether both pulls ended as they should.
    pub(super) fn is_as_expected(&self) -> bool {
        self.plan.expects(&self.cold.outcome) && self.plan.expects(&self.warm.outcome)
    }

    /// The pull that ended unexpectedly, else the first.
    pub(super) fn outcome(&self) -> &Outcome {
        if self.plan.expects(&self.cold.outcome) && !self.plan.expects(&self.warm.outcome) {
            &self.warm.outcome
        } else {
            &self.cold.outcome
        }
    }
}
