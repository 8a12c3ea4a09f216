//! Where the documents of scenarios are read and images asked for: keys and a log made at run time, the certificates of
//! the corpus, and a trusted root that knows both.

use std::fs;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use jiff::Timestamp;
use serde_json::Value;
use tempfile::TempDir;

use super::super::corpus;
use super::super::forge::{Key, Log, Signature, attestation};
use super::super::question::{now, unsigned_tag, words};
use super::table::Scenario;
use crate::admission::evaluate::{Known, evaluate};
use crate::config::{Config, Source};
use crate::decision_log::Subject;
use crate::limits::Limits;
use crate::oci::Digest;
use crate::policy::Tags;
use crate::signature::{Candidate, Content};

const KEYS: usize = 3;

pub(super) struct Place {
    keys: [Key; KEYS],
    log: Log,
    directory: TempDir,
    /// What stands in documents for what is made here, longer names first.
    placeholders: Vec<(String, String)>,
}

/// The certificate of an authority that had expired when anything here was signed.
fn expired_authority() -> String {
    let path = "../chains/trusted_root_expired_intermediate.json";
    let root = corpus::json(path);
    let certificates = &root["certificateAuthorities"][0]["certChain"]["certificates"];
    let der = certificates[0]["rawBytes"].as_str().unwrap();
    format!("-----BEGIN CERTIFICATE-----\n{der}\n-----END CERTIFICATE-----\n")
}

/// A text in double quotes, as YAML and JSON have it.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

impl Place {
    pub(super) fn new() -> Self {
        let keys: [Key; KEYS] = std::array::from_fn(|_| Key::generate());
        let log = Log::new();
        let directory = TempDir::new().unwrap();
        let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
        let mut root = corpus::json("trust/trusted_root.json");
        root["tlogs"].as_array_mut().unwrap().push(log.trusted());
        write("trusted_root.json", &root.to_string());
        write("log.pub", &log.pem());
        let chain = |name: &str| {
            let path = corpus::folder().join("trust").join(name);
            fs::read_to_string(path).unwrap()
        };
        let rekor = chain("rekor1.pub");
        write("rekor.pub", &rekor);
        write("fulcio.pem", &chain("fulcio-chain.pem"));
        write(
            "fulcios.pem",
            &(expired_authority() + &chain("fulcio-chain.pem")),
        );
        write("roguefulcio.pem", &chain("roguefulcio-chain.pem"));
        let base64 = |text: &str| BASE64_STANDARD.encode(text);
        let mut placeholders = vec![
            (
                "$KEYS".to_owned(),
                quoted(&(keys[0].pem() + &keys[1].pem())),
            ),
            ("$FULCIO64".to_owned(), base64(&chain("fulcio-chain.pem"))),
            ("$CTFE64".to_owned(), base64(&chain("ctfe.pub"))),
            ("$REKOR64".to_owned(), base64(&rekor)),
            ("$LOG64".to_owned(), base64(&log.pem())),
            ("$FULCIO".to_owned(), quoted(&chain("fulcio-chain.pem"))),
            ("$ROGUETSA".to_owned(), quoted(&chain("roguetsa-chain.pem"))),
            ("$TSA".to_owned(), quoted(&chain("tsa-chain.pem"))),
            ("$CTFE".to_owned(), quoted(&chain("ctfe.pub"))),
            ("$REKOR".to_owned(), quoted(&rekor)),
            ("$LOG".to_owned(), quoted(&log.pem())),
            ("$ROGUE".to_owned(), quoted(&chain("roguefulcio-chain.pem"))),
            ("$CERTIFICATE64".to_owned(), base64(&signing_certificate())),
            ("$CERTIFICATE".to_owned(), quoted(&signing_certificate())),
            ("$RELEASE".to_owned(), corpus::RELEASE.to_owned()),
            ("$GITHUB".to_owned(), corpus::GITHUB.to_owned()),
        ];
        for (key, number) in keys.iter().zip(1..) {
            write(&format!("key{number}.pub"), &key.pem());
            placeholders.push((format!("$KEY{number}64"), base64(&key.pem())));
            placeholders.push((format!("$KEY{number}"), quoted(&key.pem())));
        }
        Self {
            keys,
            log,
            directory,
            placeholders,
        }
    }

    /// What becomes of the image.
    pub(super) fn answer(&self, scenario: &Scenario) -> String {
        self.write(scenario);
        let config = match self.load(scenario) {
            Ok(config) => config,
            Err(problems) => return problems,
        };
        let limits = Limits::default();
        let (name, tag) = match scenario.image.split_once('@') {
            Some((name, _)) => (name, None),
            None => {
                let (name, tag) = scenario.image.rsplit_once(':').unwrap();
                (name, Some(tag.to_owned()))
            }
        };
        let (digest, candidates) = self.found(&scenario.found);
        let tags = Tags::new(tag);
        let known = Known {
            tags: &tags,
            candidates: &candidates,
            failed_sources: &[],
            absent_referrer: None,
            stale: false,
            limit_exceeded: None,
            witnessed: true,
        };
        let subject = Subject {
            repository: name.parse().unwrap(),
            digest,
        };
        let evaluation = evaluate(&subject, &config.policies, &known, &limits, now());
        let tag = tags.known().first().map(|tag| tag.parse().unwrap());
        let unsigned = tag.and_then(|tag| unsigned_tag(&evaluation, &subject, &tag));
        unsigned.unwrap_or_else(|| words(&evaluation))
    }

    fn write(&self, scenario: &Scenario) {
        let mut documents = scenario.documents.clone();
        for (placeholder, text) in &self.placeholders {
            documents = documents.replace(placeholder, text);
        }
        let path = self.directory.path().join(scenario.file);
        fs::write(path, documents).unwrap();
    }

    fn load(&self, scenario: &Scenario) -> Result<Config, String> {
        let source = Source {
            path: self.directory.path().join("config.yaml"),
            text: format!(
                "upstreams: {{ghcr.io: {{}}, docker.io: {{}}, quay.io: {{}}}}
trusted_roots: {{public-good: {{file: trusted_root.json}}}}
policy_files: [{}]
default: {}",
                scenario.file, scenario.default
            ),
        };
        Config::from_sources(&[source], &|_| None).map_err(|problems| {
            let keys: Vec<_> = problems.0.iter().map(|it| it.key.as_str()).collect();
            format!("problem {}", keys.join(" ")).trim_end().to_owned()
        })
    }

    /// The signatures, and what they are of.
    fn found(&self, found: &[String]) -> (Digest, Vec<Candidate>) {
        let signed = found.iter().find_map(|it| it.strip_prefix("corpus "));
        let digest = signed.map_or_else(
            || Digest::sha256(b"an image"),
            |case| corpus::signed(case).digest,
        );
        let candidates = found.iter().flat_map(|it| self.candidates(it, &digest));
        (digest, candidates.collect())
    }

    fn candidates(&self, found: &str, digest: &Digest) -> Vec<Candidate> {
        let (kind, rest) = found.split_once(' ').unwrap();
        if kind == "corpus" {
            return corpus::signed(rest).candidates;
        }
        let (key, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        let key = &self.keys[key.parse::<usize>().unwrap() - 1];
        let time: Timestamp = "2026-11-20T00:00:00Z".parse().unwrap();
        let log = Some((&self.log, time));
        let annotation;
        let mut signature = Signature {
            logged: log,
            ..Signature::default()
        };
        let another = Digest::sha256(b"another image");
        let layer = match kind {
            "signed" => signature.by(key, digest),
            "unlogged" => {
                signature.logged = None;
                signature.by(key, digest)
            }
            "elsewhere" => signature.by(key, &another),
            "named" | "logged" => {
                signature.name = rest;
                signature.logged = log.filter(|_| kind == "logged");
                signature.by(key, digest)
            }
            "annotated" => {
                annotation = [rest.split_once('=').unwrap()];
                signature.annotations = &annotation;
                signature.by(key, digest)
            }
            "attested" => {
                let (predicate_type, predicate) = rest.split_once(' ').unwrap();
                let predicate = serde_json::from_str(predicate).unwrap();
                attestation(key, digest, predicate_type, &predicate, log)
            }
            _ => panic!("{found}"),
        };
        vec![layer.candidate()]
    }
}

/// The certificate with which the release of the corpus was signed.
fn signing_certificate() -> String {
    let signed = corpus::signed("kf-legacy-gh");
    let certificate =
        signed
            .candidates
            .iter()
            .find_map(|candidate| match candidate.content.as_ref() {
                Content::Signed(signed) => signed.certificate.as_ref(),
                Content::Broken(_) => None,
            });
    let der = certificate.unwrap().der.as_bytes();
    let text = BASE64_STANDARD.encode(der);
    format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
}
