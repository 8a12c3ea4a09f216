//! `countersign recheck`: a running proxy looks at an image again at once.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use serde_json::json;
use url::Url;

use super::log::{AdminApi, SourceError};
use super::output::{Format, print, print_json, tell};
use super::{ConfigFiles, EXIT_NO, EXIT_UNDECIDED, EXIT_USAGE, block_on, chain, verify};
use crate::admin::Recheck;
use crate::cli::image::{ImageReference, ParseError};
use crate::cli::image_name::{ImageName, Names, Reading};

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  countersign recheck ghcr.io/org/app:v1                  # after `cosign sign`
  countersign recheck --config config.yaml ghcr.io/org/app@sha256:…
  countersign recheck --server https://countersign.internal:5081 \\
      --output json ghcr.io/org/app:v1

A proxy remembers a refusal for lack of a signature for 30 s, and a tag for `freshness.tag_ttl`. This makes it resolve
the tag, look for signatures and decide at once. It admits nothing that a pull would not.

Exit status: 0 admitted, 1 refused, 2 cannot be decided or the proxy does not answer, 64 bad usage or configuration.")]
pub(super) struct Arguments {
    /// The image, as for `docker pull` or as a Pod names it.
    #[arg(value_name = "IMAGE")]
    image: ImageName,
    #[command(flatten)]
    config: ConfigFiles,
    /// The admin API of the proxy; without it, `server.admin_listen` of the configuration.
    #[arg(long, visible_alias = "admin", value_name = "URL")]
    server: Option<Url>,
    /// The token of the admin API; without it, `server.admin_token` of the configuration.
    #[arg(long, env = "ADMIN_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Print text, or JSON for programs.
    #[arg(short, long, value_enum, default_value = "text")]
    output: Format,
}

type Place = (Url, Option<String>, Result<Reading, ParseError>);

/// The proxy bounds its own time; this is longer.
const TIME_MAX: Duration = Duration::from_secs(90);

pub(super) fn run(arguments: &Arguments) -> u8 {
    let (server, token, reading) = match place(arguments) {
        Ok(place) => place,
        Err(code) => return code,
    };
    let image = match reading {
        Ok(Reading { image, remark, .. }) => {
            if let Some(remark) = remark {
                tell(&remark);
            }
            image
        }
        Err(error) => {
            tell(&error.to_string());
            return EXIT_USAGE;
        }
    };
    block_on(async {
        match ask(&server, token.as_deref(), &image).await {
            Ok(answer) => show(&answer, arguments.output),
            Err(error) => {
                tell(&chain(&error));
                error.exit_code()
            }
        }
    })
}

/// The admin API and its token, from the arguments or else the configuration, and the image. Without a configuration the
/// image has the name that `docker pull` gives it.
fn place(arguments: &Arguments) -> Result<Place, u8> {
    if let Some(server) = &arguments.server
        && arguments.config.config.is_empty()
    {
        let reading = arguments.image.read_plainly();
        return Ok((server.clone(), arguments.token.clone(), reading));
    }
    let config = arguments.config.load()?;
    let reading = arguments.image.read(&Names::of(&config));
    let configured = config.server.admin_token;
    let token = arguments.token.clone();
    let token = token.or_else(|| configured.map(|token| token.expose().to_owned()));
    let server = match &arguments.server {
        Some(server) => server.clone(),
        None => {
            let address = reachable(config.server.admin_listen);
            format!("http://{address}").parse().map_err(|error| {
                tell(&format!("{address}: {error}"));
                EXIT_USAGE
            })?
        }
    };
    Ok((server, token, reading))
}

/// The address on which something answers that listens on `listen`: a listener on every address is on loopback too.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
    };
    SocketAddr::new(ip, listen.port())
}

async fn ask(
    server: &Url,
    token: Option<&str>,
    image: &ImageReference,
) -> Result<Recheck, SourceError> {
    let body = json!({ "image": image.to_string() });
    let api = AdminApi::at(server, token)?;
    api.post("recheck", &body, TIME_MAX).await
}

fn show(answer: &Recheck, format: Format) -> u8 {
    let code = match answer.decision.as_str() {
        "admit" => 0,
        "deny" => EXIT_NO,
        _ => EXIT_UNDECIDED,
    };
    match format {
        Format::Json => print_json(answer),
        Format::Text => print(&describe(answer)),
    };
    code
}

fn describe(answer: &Recheck) -> String {
    let kind = answer.kind.as_deref().unwrap_or_default();
    let message = answer.message.as_deref().unwrap_or_default();
    match (answer.decision.as_str(), &answer.digest) {
        ("admit", Some(digest)) => {
            verify::describe_admitted(digest, answer.warning.as_deref(), answer.record.as_ref())
        }
        ("deny", _) => verify::describe_refused(kind, message),
        _ => verify::describe_undecided(kind, message),
    }
}

#[cfg(test)]
mod tests {
    use super::reachable;

    #[test]
    fn a_listener_on_every_address_is_asked_on_loopback() {
        for (listen, asked) in [
            ("0.0.0.0:5081", "127.0.0.1:5081"),
            ("[::]:5081", "[::1]:5081"),
            ("10.0.0.7:5081", "10.0.0.7:5081"),
        ] {
            assert_eq!(reachable(listen.parse().unwrap()).to_string(), asked);
        }
    }
}
