//! `countersign init`: a configuration that admits the images signed today, by the signers found.

mod identity;
mod manifests;
mod plan;
mod progress;
mod surroundings;
mod survey;
mod text;
mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::image::ImageReference;
use super::output::{print, tell};
use super::replay::{self, Replay};
use super::requirements::{Access, escape};
use super::{ConfigFiles, EXIT_NO, EXIT_UNDECIDED, EXIT_USAGE, block_on, chain, environment};
use crate::clock;
use crate::config::catalog::{self, Entry};
use crate::config::{Config, Source};
use crate::decision_log::Basis;
use crate::oci::RepositoryName;
use crate::{telemetry, trust};
use plan::{Catalogued, Plan, Why};
use surroundings::Surroundings;
use survey::{NamedKey, Survey, Unknown};
use text::Findings;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  countersign init ghcr.io/org/app:v1 registry.k8s.io/pause:3.10 > config.yaml
  countersign init -f deploy/ -f compose.yaml --output config.yaml
  kubectl get pods -A -o json | countersign init -f - --output config.yaml
  helm template chart | countersign init -f - --key cosign.pub

Reads Kubernetes objects (containers, init and ephemeral containers, image volumes, images of custom resources), Docker
Compose files, and lists with one image a line. Asks the registries about each image, verifies its signatures, and
writes who signed it as policies, with the evidence in comments. A workflow that ran for a tag is accepted for every tag;
publishers of the built-in catalogue are taken from there. Images without a known signer stay refused and are listed at
the end.

Exit status: 0 all are signed and covered, 1 some are not signed or not by anybody known, 2 something could not be told,
64 bad usage or configuration.")]
pub(super) struct Arguments {
    /// The images, as for `docker pull`.
    #[arg(value_name = "IMAGE", required_unless_present = "manifests")]
    images: Vec<ImageReference>,
    /// Manifests that name images: a file, a directory, or - for standard input; may be given several times.
    #[arg(short = 'f', long = "file", value_name = "MANIFESTS")]
    manifests: Vec<PathBuf>,
    /// Write to this file instead of standard output.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace the file if it is there.
    #[arg(long, requires = "output")]
    force: bool,
    /// Public key that may have signed, a PEM file; may be given several times.
    #[arg(long, value_name = "FILE")]
    key: Vec<PathBuf>,
    /// Sigstore `trusted_root.json` to believe besides the public-good one.
    #[arg(long, value_name = "FILE", conflicts_with = "config")]
    trusted_root: Option<PathBuf>,
    #[command(flatten)]
    config: ConfigFiles,
    #[command(flatten)]
    registry: Access,
}

/// The name of the trusted root given on the command line.
const TRUSTED_ROOT: &str = "private";
/// Images that are asked about at most.
const IMAGES_MAX: usize = 10_000;

/// The images to ask about.
#[derive(Debug, Default)]
struct Wanted {
    images: Vec<ImageReference>,
    /// The files that name an image, by its canonical name.
    places: BTreeMap<String, Vec<String>>,
    /// Names and files that could not be read.
    unread: Vec<String>,
}

/// The program was not able to tell.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("cannot make a temporary directory")]
    Directory(#[source] std::io::Error),
    #[error(transparent)]
    Recording(#[from] crate::app::RecordingError),
    #[error(transparent)]
    Replay(#[from] replay::Error),
}

pub(super) fn run(arguments: &Arguments) -> u8 {
    telemetry::log_to_stderr(Some(environment("RUST_LOG").as_deref().unwrap_or("error")));
    if let Some(path) = &arguments.output
        && !arguments.force
        && path.exists()
    {
        tell(&format!("{} exists; --force replaces it", path.display()));
        return EXIT_USAGE;
    }
    let prepared = Wanted::by(arguments).and_then(|wanted| Ok((wanted, keys(&arguments.key)?)));
    let (wanted, keys) = match prepared {
        Ok(prepared) => prepared,
        Err(problem) => {
            tell(&problem);
            return EXIT_USAGE;
        }
    };
    block_on(async {
        match init(arguments, &wanted, &keys).await {
            Ok(code) => code,
            Err(error) => {
                tell(&chain(&error));
                EXIT_UNDECIDED
            }
        }
    })
}

impl Wanted {
    /// Each image once, in the order in which they are named.
    fn by(arguments: &Arguments) -> Result<Self, String> {
        let found = manifests::read(&arguments.manifests)?;
        let mut wanted = Self {
            unread: found.unread,
            ..Self::default()
        };
        let named = found.images.into_iter();
        let named = named.map(|named| (named.image, Some(named.place)));
        let given = arguments.images.iter().cloned().map(|image| (image, None));
        for (image, place) in given.chain(named) {
            let places = wanted.places.entry(image.to_string()).or_insert_with(|| {
                wanted.images.push(image);
                Vec::new()
            });
            places.extend(place.filter(|place| !places.contains(place)));
        }
        if wanted.images.len() > IMAGES_MAX {
            return Err(format!("more than {IMAGES_MAX} images are named"));
        }
        if wanted.images.is_empty() && wanted.unread.is_empty() {
            return Err("the manifests name no image".to_owned());
        }
        Ok(wanted)
    }

    fn hosts(&self) -> BTreeSet<String> {
        let images = self.images.iter();
        images
            .map(|image| image.repository.host().to_owned())
            .collect()
    }
}

fn keys(paths: &[PathBuf]) -> Result<Vec<NamedKey>, String> {
    let read = |path: &PathBuf| {
        let key = trust::load_key(path).map_err(|error| format!("--key: {}", chain(&error)))?;
        let path = std::path::absolute(path).unwrap_or_else(|_error| path.clone());
        Ok(NamedKey {
            path: path.to_string_lossy().into_owned(),
            key,
        })
    };
    paths.iter().map(read).collect()
}

async fn init(arguments: &Arguments, wanted: &Wanted, keys: &[NamedKey]) -> Result<u8, Error> {
    let directory = tempfile::tempdir().map_err(Error::Directory)?;
    let entries = match catalog::entries() {
        Ok(entries) => entries,
        Err(problems) => {
            tell(&problems.to_string());
            return Ok(EXIT_USAGE);
        }
    };
    let repositories = wanted.images.iter().map(|image| &image.repository);
    let repositories: BTreeSet<_> = repositories.collect();
    let covers = |entry: &Entry| repositories.iter().any(|name| is_covered(entry, name));
    let entries: Vec<_> = entries.into_iter().filter(covers).collect();
    let config = match probing(arguments, &wanted.hosts(), &entries, directory.path()) {
        Ok(config) => config,
        Err(code) => return Ok(code),
    };
    let evidence = directory.path().join("evidence");
    let mut recorded = survey::record(&config, &wanted.images, &evidence).await?;
    let mut unknown = std::mem::take(&mut recorded.unknown);
    let replay = survey::replay(config.clone(), &evidence).await?;
    let surveys = survey::survey(&recorded, &replay, keys).await?;
    let (surveys, catalogued) = in_catalog(surveys, &replay, &entries, &mut unknown).await?;
    replay.close().await;

    let policies = entries.iter().flat_map(|entry| &entry.policies);
    let taken = policies.map(|policy| policy.name.clone()).collect();
    let plan = Plan::new(&surveys, &catalogued, taken);
    let mut hosts = wanted.hosts();
    hosts.extend(signature_hosts(&entries, |entry| {
        plan.catalog.contains_key(&entry.name)
    }));
    let summary = summary(&plan, &unknown, surveys.len() + unknown.len());
    let findings = Findings {
        plan: &plan,
        unknown: &unknown,
        surroundings: &Surroundings::of(&config, &hosts),
        places: &wanted.places,
        titles: &entries
            .iter()
            .map(|it| (it.name.clone(), it.title.clone()))
            .collect(),
        summary: &summary,
        now: clock::now(),
    };
    let text = findings.render();
    let Some(is_as_planned) = check(&text, &plan, &surveys, &evidence).await? else {
        return Ok(EXIT_UNDECIDED);
    };
    if !write(arguments, &text) {
        return Ok(EXIT_USAGE);
    }
    tell_open(&plan, &unknown, wanted);
    tell(&summary);
    Ok(if !plan.refused.is_empty() {
        EXIT_NO
    } else if is_as_planned && unknown.is_empty() && wanted.unread.is_empty() {
        0
    } else {
        EXIT_UNDECIDED
    })
}

fn is_covered(entry: &Entry, repository: &RepositoryName) -> bool {
    let mut policies = entry.policies.iter();
    policies.any(|policy| policy.coverage.can_cover(repository))
}

/// The hosts where the publishers of some entries keep their signatures.
fn signature_hosts<'a>(
    entries: &'a [Entry],
    is_meant: impl Fn(&Entry) -> bool + 'a,
) -> impl Iterator<Item = String> + 'a {
    let entries = entries.iter().filter(move |entry| is_meant(entry));
    let policies = entries.flat_map(|entry| &entry.policies);
    let repositories = policies.flat_map(|policy| &policy.signature_repositories);
    repositories.map(|repository| repository.host().to_owned())
}

/// The configuration by which registries are asked, with the entries of the catalogue that may cover an image and no
/// other policy. Its problems have been told.
fn probing(
    arguments: &Arguments,
    hosts: &BTreeSet<String>,
    entries: &[Entry],
    directory: &Path,
) -> Result<Config, u8> {
    let mut paths = arguments.config.config.clone();
    let known = match paths.is_empty() {
        true => BTreeMap::new(),
        false => arguments.config.load()?.upstreams,
    };
    let mut hosts = hosts.clone();
    hosts.extend(signature_hosts(entries, |_entry| true));
    let mut upstreams = Map::new();
    for host in hosts.iter().filter(|host| !known.contains_key(*host)) {
        let upstream = match paths.is_empty() {
            true => arguments.registry.to_upstream(host),
            false => Map::new(),
        };
        upstreams.insert(host.clone(), upstream.into());
    }
    let names: Vec<_> = entries.iter().map(|entry| &entry.name).collect();
    let mut document = Map::new();
    let mut set = |key: &str, value: Value| document.insert(key.to_owned(), value);
    set("upstreams", upstreams.into());
    set("policies", json!([]));
    set("catalog", json!(names));
    set("default", json!("deny"));
    if !paths.is_empty() {
        // Lists replace those of the files before.
        set("policy_files", json!([]));
        set("exceptions", json!([]));
    }
    if let Some(file) = &arguments.trusted_root {
        let file = std::path::absolute(file).unwrap_or_else(|_error| file.clone());
        let root = json!({ "file": file.to_string_lossy() });
        set("trusted_roots", json!({ TRUSTED_ROOT: root }));
    }
    let overlay = directory.join("init.yaml");
    let told = |text: &str| {
        tell(text);
        EXIT_USAGE
    };
    std::fs::write(&overlay, escape(&Value::from(document).to_string()))
        .map_err(|error| told(&format!("{}: {error}", overlay.display())))?;
    paths.push(overlay);
    Config::load(&paths, &environment).map_err(|problems| told(&problems.to_string()))
}

/// Asks the catalogue about each image. An image about which it cannot decide becomes an unknown one.
async fn in_catalog(
    surveys: Vec<Survey>,
    replay: &Replay,
    entries: &[Entry],
    unknown: &mut Vec<Unknown>,
) -> Result<(Vec<Survey>, Vec<Catalogued>), Error> {
    note(replay, &surveys).await?;
    let (mut known, mut catalogued) = (Vec::new(), Vec::new());
    for survey in surveys {
        let covering = entries
            .iter()
            .filter(|entry| is_covered(entry, &survey.subject.repository));
        let covering: Vec<_> = covering.map(|entry| entry.name.clone()).collect();
        let opinion = if covering.is_empty() {
            Catalogued::No
        } else {
            let verdict = decide(replay, &survey).await?;
            match (verdict.decision, verdict.basis) {
                ("admit", Some(Basis::Signature)) => Catalogued::Admits(covering),
                _ if verdict.is_known() => Catalogued::Refuses(covering),
                _ => {
                    unknown.push(Unknown {
                        image: survey.image.to_string(),
                        reason: verdict.lacking.join("; "),
                    });
                    continue;
                }
            }
        };
        known.push(survey);
        catalogued.push(opinion);
    }
    Ok((known, catalogued))
}

async fn note(replay: &Replay, surveys: &[Survey]) -> Result<(), replay::Error> {
    for survey in surveys {
        replay.note(&survey.subject, &[]).await?;
    }
    Ok(())
}

async fn decide(replay: &Replay, survey: &Survey) -> Result<replay::Verdict, replay::Error> {
    let (subject, tag) = (&survey.subject, survey.tag());
    replay.ask_only_through(subject, tag).await?;
    replay.decide(subject, tag, clock::now()).await
}

/// Loads the text, decides about every image by it, and tells what is not as planned. Nothing when it does not load.
async fn check(
    text: &str,
    plan: &Plan<'_>,
    surveys: &[Survey],
    evidence: &Path,
) -> Result<Option<bool>, Error> {
    let source = Source {
        path: PathBuf::from("init.yaml"),
        text: text.to_owned(),
    };
    let config = match Config::from_sources(&[source], &environment) {
        Ok(config) => config,
        Err(problems) => {
            tell(&format!(
                "the configuration does not load; please report this:\n{problems}"
            ));
            return Ok(None);
        }
    };
    let replay = survey::replay(config, evidence).await?;
    note(&replay, surveys).await?;
    let mut is_as_planned = true;
    for survey in surveys {
        let verdict = decide(&replay, survey).await?;
        let is_refused = |refused: &plan::Refused<'_>| std::ptr::eq(refused.survey, survey);
        let is_meant = !plan.refused.iter().any(is_refused);
        // Signature material passes everywhere, and needs no policy.
        let is_material = verdict.basis == Some(Basis::SignatureArtifact);
        if (verdict.decision == "admit") != is_meant && !is_material {
            is_as_planned = false;
            let (image, why) = (&survey.image, verdict.message.unwrap_or_default());
            tell(&format!(
                "{image}: by this configuration: {} {why}",
                verdict.decision
            ));
        }
    }
    replay.close().await;
    Ok(Some(is_as_planned))
}

/// Writes the configuration where it is wanted.
fn write(arguments: &Arguments, text: &str) -> bool {
    let Some(path) = &arguments.output else {
        print(text);
        return true;
    };
    let mut options = OpenOptions::new();
    options.write(true).truncate(true);
    match arguments.force {
        true => options.create(true),
        false => options.create_new(true),
    };
    let written = options
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()));
    match written {
        Ok(()) => true,
        Err(error) => {
            tell(&format!("{}: {error}", path.display()));
            false
        }
    }
}

/// Tells which images are refused, and what could not be read.
fn tell_open(plan: &Plan<'_>, unknown: &[Unknown], wanted: &Wanted) {
    for unread in &wanted.unread {
        tell(&format!("not read: {unread}"));
    }
    for refused in &plan.refused {
        let why = match &refused.why {
            Why::Unsigned => "not signed".to_owned(),
            Why::UnknownKey => {
                "signed with an unknown key; its public key is needed (--key)".to_owned()
            }
            Why::Unverified(reason) => format!("no signature verifies: {reason}"),
            Why::OtherThanCatalog(entries) => {
                format!("signed by another than the catalogue expects ({entries})")
            }
        };
        tell(&format!("{} is refused: {why}", refused.survey.image));
    }
    for unknown in unknown {
        tell(&format!("{}: {}", unknown.image, unknown.reason));
    }
}

/// The numbers in one line.
fn summary(plan: &Plan<'_>, unknown: &[Unknown], all: usize) -> String {
    let count = |is_meant: fn(&Why) -> bool| {
        let refused = plan.refused.iter();
        refused.filter(|refused| is_meant(&refused.why)).count()
    };
    let covered = all - plan.refused.len() - unknown.len();
    let mut parts = vec![format!("{covered} signed and covered")];
    for (number, what) in [
        (count(|why| matches!(why, Why::Unsigned)), "not signed"),
        (
            count(|why| matches!(why, Why::UnknownKey)),
            "signed with an unknown key",
        ),
        (
            count(|why| matches!(why, Why::Unverified(_))),
            "with signatures that do not verify",
        ),
        (
            count(|why| matches!(why, Why::OtherThanCatalog(_))),
            "signed by another than the catalogue expects",
        ),
        (unknown.len(), "could not be told"),
    ] {
        if number > 0 {
            parts.push(format!("{number} {what}"));
        }
    }
    let images = if all == 1 { "image" } else { "images" };
    format!("{all} {images}: {}", parts.join(", "))
}
