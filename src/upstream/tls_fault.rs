//! The fault of a registry that does not speak TLS although the configuration says so.

use std::error::Error;
use std::io::{self, ErrorKind};

const HINT: &str = "a registry with plain HTTP needs `plain_http: true` under its name in `upstreams` (--plain-http without a \
     configuration)";

/// A sentence about a TLS handshake with something that speaks another protocol, usually a registry with plain HTTP.
/// Nothing for other faults.
pub(super) fn explain(error: &reqwest::Error) -> Option<String> {
    if !error.is_connect() {
        return None;
    }
    let error: &(dyn Error + 'static) = error;
    let causes = std::iter::successors(Some(error), |&error| error.source());
    causes.flat_map(with_wrapped).find_map(|cause| {
        if is_no_tls(cause) {
            Some(format!("no connection: the answer is not TLS; {HINT}"))
        } else if is_cut_off(cause) {
            Some(format!(
                "no connection: it ended during the TLS handshake; {HINT}"
            ))
        } else {
            None
        }
    })
}

/// The error and those that it wraps: an I/O error does not name a wrapped error as its source.
fn with_wrapped<'e>(
    error: &'e (dyn Error + 'static),
) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| {
        let wrapped = error.downcast_ref::<io::Error>()?.get_ref()?;
        Some(wrapped as &(dyn Error + 'static))
    })
}

fn is_no_tls(cause: &(dyn Error + 'static)) -> bool {
    matches!(
        cause.downcast_ref::<rustls::Error>(),
        Some(rustls::Error::InvalidMessage(_))
    )
}

fn is_cut_off(cause: &(dyn Error + 'static)) -> bool {
    cause
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == ErrorKind::UnexpectedEof)
}
