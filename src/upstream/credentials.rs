//! What we authenticate to upstreams with.

use std::path::PathBuf;

use crate::secret::Secret;

/// Where the credentials of an upstream come from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Credentials {
    /// Nowhere: public content only.
    #[default]
    Anonymous,
    /// The configuration.
    Basic {
        /// The user name, without colon.
        username: String,
        /// The password or access token.
        password: Secret,
    },
    /// Docker's `config.json`: `credHelpers`, `auths` and `credsStore`, in this order.
    DockerConfig {
        /// The file. `None` when no home directory says where it would be; the upstream then does not build.
        path: Option<PathBuf>,
    },
}

/// Credentials as they were found for one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Login {
    /// None.
    Anonymous,
    /// User name and password.
    Password {
        /// The user name.
        username: String,
        /// The password.
        password: Secret,
    },
    /// An OAuth 2 refresh token, good only at the token host.
    IdentityToken(Secret),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_do_not_print() {
        let credentials = Credentials::Basic {
            username: "robot".to_owned(),
            password: Secret::new("hunter2".to_owned()),
        };
        let text = format!("{credentials:?}");
        assert!(
            text.contains("robot") && !text.contains("hunter2"),
            "{text}"
        );
    }
}
