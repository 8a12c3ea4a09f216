//! `countersign policy match`.

use std::path::PathBuf;
use std::sync::Arc;

use super::check::unreadable;
use crate::cli::image::ImageReference;
use crate::cli::image_name::{ImageName, Names};
use crate::cli::output::{print, tell};
use crate::cli::{EXIT_NO, EXIT_USAGE, environment};
use crate::config::Problems;
use crate::config::check::check;
use crate::oci::Reference;
use crate::policy::{Coverage, Policy, Tags};

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  countersign policy match policies/*.yaml ghcr.io/org/app:v1
  countersign policy match /etc/containers/policy.json busybox

The name of each policy that applies is printed on a line, by the rules of the project it was written for; `explain`
shows which apply to a pull.

Exit status: 0 at least one applies, 1 none does, 64 bad usage or a file with problems.")]
pub(super) struct Arguments {
    /// Configuration files and documents of policies, and at the end the image, as its user writes it.
    #[arg(required = true, num_args = 2.., value_names = ["FILES", "IMAGE"])]
    files_and_image: Vec<String>,
}

pub(super) fn run(arguments: &Arguments) -> u8 {
    let Some((image, files)) = arguments.files_and_image.split_last() else {
        return EXIT_USAGE;
    };
    let files: Vec<_> = files.iter().map(PathBuf::from).collect();
    if let Some(path) = unreadable(&files) {
        tell(&format!(
            "{} is not a file; the image comes last",
            path.display()
        ));
        return EXIT_USAGE;
    }
    let checked = check(&files, &environment);
    if !checked.problems.is_empty() {
        tell(&Problems(checked.problems).to_string());
        return EXIT_USAGE;
    }
    let names = Names {
        upstreams: checked.upstreams.clone(),
        routes: checked.routes.clone(),
        listen: checked.listen,
    };
    let mut image = image.clone();
    let reading = image
        .parse::<ImageName>()
        .and_then(|name| name.read(&names));
    let reference = match reading {
        Ok(reading) => {
            if let Some(remark) = reading.remark {
                tell(&remark);
            }
            image = reading.text;
            Some(reading.image)
        }
        Err(error) if !checked.policies.iter().any(|it| understands(it, &image)) => {
            tell(&format!("`{image}` is no image: {error}"));
            return EXIT_USAGE;
        }
        Err(_known_to_a_project) => None,
    };
    let applying = applying(&checked.policies, &image, reference.as_ref());
    if applying.is_empty() {
        return EXIT_NO;
    }
    for policy in applying {
        print(&format!("{}\n", policy.name));
    }
    0
}

fn applying<'p>(
    policies: &'p [Arc<Policy>],
    image: &str,
    reference: Option<&ImageReference>,
) -> Vec<&'p Policy> {
    let applying = policies
        .iter()
        .filter(|policy| applies(policy, image, reference));
    applying.map(Arc::as_ref).collect()
}

/// Whether the policy's own project takes what is written for an image, whatever that is here.
fn understands(policy: &Policy, image: &str) -> bool {
    match &policy.coverage {
        Coverage::Names { .. } => false,
        Coverage::Imported(imported) => imported.understands(image),
    }
}

/// By canonical name, or by the rules of the policy's own project for what is written. Without a reference that can be
/// pulled here, only a project that knows it as one can say so.
fn applies(policy: &Policy, image: &str, reference: Option<&ImageReference>) -> bool {
    match &policy.coverage {
        Coverage::Names { .. } => reference.is_some_and(|reference| {
            let tags = match &reference.reference {
                Reference::Tag(tag) => Tags::new([tag.to_string()]),
                Reference::Digest(_) => Tags::default(),
            };
            policy.coverage.covers(&reference.repository, &tags)
        }),
        Coverage::Imported(imported) => {
            (reference.is_some() || imported.understands(image)) && imported.matches(image)
        }
    }
}

#[cfg(test)]
mod tests;
