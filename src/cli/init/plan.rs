//! The policies that admit the images signed today (pure).

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::identity::plain_name;
use super::survey::{AcceptedSigner, Survey, Who};
use crate::config::PUBLIC_GOOD;
use crate::oci::RepositoryName;

/// The parts of the configuration.
#[derive(Debug)]
pub(super) struct Plan<'a> {
    /// Entries of the catalogue, each with the images that it admits.
    pub(super) catalog: BTreeMap<String, Vec<&'a Survey>>,
    pub(super) policies: Vec<PlannedPolicy<'a>>,
    /// Images that are refused.
    pub(super) refused: Vec<Refused<'a>>,
}

/// A policy for repositories with the same signers.
#[derive(Debug)]
pub(super) struct PlannedPolicy<'a> {
    pub(super) name: String,
    pub(super) images: BTreeMap<RepositoryName, Vec<&'a Survey>>,
    /// Any of them may vouch; each image has a signature by one.
    pub(super) authorities: Vec<NamedAuthority<'a>>,
    /// Signers that no image needs.
    pub(super) spare: Vec<NamedAuthority<'a>>,
}

/// A signer by the name of its authority.
#[derive(Debug, Clone)]
pub(super) struct NamedAuthority<'a> {
    pub(super) name: String,
    pub(super) signer: &'a AcceptedSigner,
}

/// An image that is refused.
#[derive(Debug)]
pub(super) struct Refused<'a> {
    pub(super) survey: &'a Survey,
    pub(super) why: Why,
}

/// Why an image is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Why {
    /// No signature was found.
    Unsigned,
    /// It was signed with a key that is not known.
    UnknownKey,
    /// Its signatures do not verify; one sentence.
    Unverified(String),
    /// The catalogue has an entry for it and expects another signer.
    OtherThanCatalog(String),
}

/// The catalogue's opinion of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Catalogued {
    /// No entry covers it.
    No,
    /// These entries cover it and admit it.
    Admits(Vec<String>),
    /// These entries cover it and refuse it.
    Refuses(Vec<String>),
}

impl<'a> Plan<'a> {
    /// The plan for these images. `taken` are names of policies that exist already.
    pub(super) fn new(
        surveys: &'a [Survey],
        catalogued: &[Catalogued],
        mut taken: BTreeSet<String>,
    ) -> Self {
        let mut catalog: BTreeMap<String, Vec<&Survey>> = BTreeMap::new();
        let mut refused = Vec::new();
        let mut signed: BTreeMap<RepositoryName, Vec<&Survey>> = BTreeMap::new();
        for (survey, catalogued) in surveys.iter().zip(catalogued) {
            match catalogued {
                Catalogued::Admits(entries) => {
                    for entry in entries {
                        catalog.entry(entry.clone()).or_default().push(survey);
                    }
                }
                Catalogued::No if !survey.signatures.is_empty() => {
                    let repository = survey.subject.repository.clone();
                    signed.entry(repository).or_default().push(survey);
                }
                Catalogued::Refuses(entries) if !survey.signatures.is_empty() => {
                    let why = Why::OtherThanCatalog(entries.join(", "));
                    refused.push(Refused { survey, why });
                }
                Catalogued::No | Catalogued::Refuses(_) => refused.push(Refused::new(survey)),
            }
        }
        let mut groups: BTreeMap<Vec<&AcceptedSigner>, Group<'_>> = BTreeMap::new();
        for (repository, surveys) in signed {
            let (needed, spare) = signers(&surveys);
            let group = groups.entry(needed).or_default();
            group.images.insert(repository, surveys);
            group.spare.extend(spare);
        }
        let groups = groups.into_iter();
        let policies = groups.map(|(needed, group)| PlannedPolicy::new(needed, group, &mut taken));
        Self {
            catalog,
            policies: policies.collect(),
            refused,
        }
    }

    /// The trusted roots that the policies and the catalogue name.
    pub(super) fn trusted_roots(&self) -> BTreeSet<&str> {
        let policies = self.policies.iter();
        let all = policies.flat_map(|policy| policy.authorities.iter().chain(&policy.spare));
        let named = all.map(|authority| authority.signer.trusted_root.as_str());
        let by_catalog = (!self.catalog.is_empty()).then_some(PUBLIC_GOOD);
        named.chain(by_catalog).collect()
    }
}

/// Repositories with the same signers.
#[derive(Debug, Default)]
struct Group<'a> {
    images: BTreeMap<RepositoryName, Vec<&'a Survey>>,
    spare: BTreeSet<&'a AcceptedSigner>,
}

/// The fewest signers of whom each image has one, and the others. Signers that many images have come first; among these
/// a workflow comes before a person, since it signs the next release too.
fn signers<'a>(surveys: &[&'a Survey]) -> (Vec<&'a AcceptedSigner>, Vec<&'a AcceptedSigner>) {
    let of = |survey: &&'a Survey| -> Vec<&'a AcceptedSigner> {
        let signatures = survey.signatures.iter();
        signatures.map(|evidence| &evidence.signer).collect()
    };
    let mut spare: BTreeSet<_> = surveys.iter().flat_map(of).collect();
    let mut open: Vec<_> = surveys.iter().map(of).collect();
    let mut needed = Vec::new();
    while !open.is_empty() {
        let rank = |signer: &'a AcceptedSigner| {
            let having = open.iter().filter(|signers| signers.contains(&signer));
            (having.count(), is_workflow(signer), Reverse(signer))
        };
        let Some(best) = spare.iter().copied().max_by_key(|signer| rank(signer)) else {
            break;
        };
        spare.remove(best);
        needed.push(best);
        open.retain(|signers| !signers.contains(&best));
    }
    needed.sort();
    (needed, spare.into_iter().collect())
}

fn is_workflow(signer: &AcceptedSigner) -> bool {
    match &signer.who {
        Who::Identity(identity) => identity.is_workflow(),
        Who::Key(_) => false,
    }
}

impl<'a> PlannedPolicy<'a> {
    fn new(
        needed: Vec<&'a AcceptedSigner>,
        group: Group<'a>,
        taken: &mut BTreeSet<String>,
    ) -> Self {
        let mut names = BTreeSet::new();
        let authorities: Vec<_> = needed
            .into_iter()
            .map(|signer| NamedAuthority::new(signer, &mut names))
            .collect();
        // A spare signer of one repository may be needed by another of the group.
        let is_needed = |signer: &AcceptedSigner| authorities.iter().any(|it| it.signer == signer);
        let spare = group.spare.into_iter().filter(|signer| !is_needed(signer));
        let spare: Vec<_> = spare
            .map(|signer| NamedAuthority::new(signer, &mut names))
            .collect();
        let repositories: Vec<_> = group.images.keys().collect();
        let names = policy_names(&repositories, &authorities);
        let name = unique(names, taken);
        Self {
            name,
            images: group.images,
            authorities,
            spare,
        }
    }
}

/// Names for a policy of these repositories, the best first: the last part of the one name, the part that all names begin
/// with, or else the names of the signers.
fn policy_names(
    repositories: &[&RepositoryName],
    authorities: &[NamedAuthority<'_>],
) -> Vec<String> {
    let paths: Vec<Vec<&str>> = repositories
        .iter()
        .map(|name| name.repository().split('/').collect())
        .collect();
    let first = paths.first().cloned().unwrap_or_default();
    let is_common =
        |index: usize, part: &&str| paths.iter().all(|path| path.get(index) == Some(part));
    let common: Vec<_> = first
        .iter()
        .enumerate()
        .take_while(|(index, part)| is_common(*index, part))
        .map(|(_index, part)| *part)
        .collect();
    if common.is_empty() {
        let signers: Vec<_> = authorities.iter().map(|it| it.name.as_str()).collect();
        return vec![format!("signed-by-{}", signers.join("-or-"))];
    }
    let mut names = Vec::new();
    for count in 1..=common.len() {
        let last = common.get(common.len() - count..).unwrap_or_default();
        names.push(plain_name(&last.join("-"), "images"));
    }
    names
}

/// The first name that is not taken, or else one with a number.
fn unique(names: Vec<String>, taken: &mut BTreeSet<String>) -> String {
    let last = names.last().cloned().unwrap_or_else(|| "images".to_owned());
    let numbered = (2_u32..).map(|number| format!("{last}-{number}"));
    let mut all = names.into_iter().chain(numbered);
    let name = all.find(|name| !taken.contains(name)).unwrap_or(last);
    taken.insert(name.clone());
    name
}

impl<'a> NamedAuthority<'a> {
    fn new(signer: &'a AcceptedSigner, names: &mut BTreeSet<String>) -> Self {
        let name = match &signer.who {
            Who::Identity(identity) => identity.name(),
            Who::Key(path) => {
                let file = path.rsplit('/').next().unwrap_or_default();
                plain_name(file.strip_suffix(".pub").unwrap_or(file), "key")
            }
        };
        Self {
            name: unique(vec![name], names),
            signer,
        }
    }
}

impl<'a> Refused<'a> {
    fn new(survey: &'a Survey) -> Self {
        let is_keyed = survey
            .unverified
            .iter()
            .any(|unverified| unverified.is_keyed);
        let why = match survey.unverified.first() {
            None => Why::Unsigned,
            Some(_) if is_keyed => Why::UnknownKey,
            Some(unverified) => Why::Unverified(unverified.reason.clone()),
        };
        Self { survey, why }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::init::identity::{AcceptedIdentity, IdentityMatch};
    use crate::cli::init::survey::{Evidence, Terms, Unverified};
    use crate::decision_log::Subject;
    use crate::oci::Digest;

    fn signer(identity: &str) -> AcceptedSigner {
        AcceptedSigner {
            who: Who::Identity(AcceptedIdentity {
                identity: IdentityMatch::Exact(identity.to_owned()),
                oidc_issuer: "https://issuer.example".to_owned(),
                extensions: Vec::new(),
                reasons: Vec::new(),
            }),
            trusted_root: "public-good".to_owned(),
            terms: Terms::default(),
        }
    }

    fn survey(image: &str, signers: &[&str]) -> Survey {
        let image: crate::cli::image::ImageReference = image.parse().unwrap();
        let signers = signers.iter();
        Survey {
            subject: Subject {
                repository: image.repository.clone(),
                digest: Digest::sha256(image.to_string().as_bytes()),
            },
            image,
            signatures: signers
                .map(|identity| Evidence {
                    signer: signer(identity),
                    by: (*identity).to_owned(),
                    log: None,
                    time: None,
                    predicate_type: None,
                })
                .collect(),
            attestations: Vec::new(),
            unverified: Vec::new(),
            children: None,
        }
    }

    fn plan(surveys: &[Survey]) -> Plan<'_> {
        Plan::new(
            surveys,
            &vec![Catalogued::No; surveys.len()],
            BTreeSet::new(),
        )
    }

    fn identities<'a>(authorities: &'a [NamedAuthority<'a>]) -> Vec<&'a AcceptedSigner> {
        authorities
            .iter()
            .map(|authority| authority.signer)
            .collect()
    }

    const WORKFLOW: &str =
        "https://github.com/org/app/.github/workflows/release.yml@refs/heads/main";

    #[test]
    fn repositories_with_the_same_signer_share_a_policy() {
        let surveys = [
            survey("ghcr.io/org/web:v1", &["a@example.org"]),
            survey("ghcr.io/org/api:v1", &["a@example.org"]),
            survey("ghcr.io/org/db:v1", &["b@example.org"]),
        ];
        let names = |surveys: &[Survey]| -> Vec<(String, usize)> {
            let policies = plan(surveys).policies.into_iter();
            policies.map(|it| (it.name, it.images.len())).collect()
        };
        assert_eq!(
            names(&surveys),
            [("org".to_owned(), 2), ("db".to_owned(), 1)]
        );
        let elsewhere = [
            survey("ghcr.io/one/web:v1", &["a@example.org"]),
            survey("ghcr.io/two/web:v1", &["a@example.org"]),
        ];
        assert_eq!(names(&elsewhere), [("signed-by-a".to_owned(), 2)]);
    }

    #[test]
    fn digests_of_one_repository_by_several_signers_need_all_of_them() {
        let surveys = [
            survey("ghcr.io/org/web:v1", &["a@example.org"]),
            survey("ghcr.io/org/web:v2", &["b@example.org"]),
        ];
        let plan = plan(&surveys);
        assert_eq!(plan.policies.len(), 1);
        let authorities = identities(&plan.policies[0].authorities);
        assert_eq!(
            authorities,
            [&signer("a@example.org"), &signer("b@example.org")]
        );
    }

    #[test]
    fn signer_that_no_image_needs_is_spare() {
        let surveys = [
            survey("ghcr.io/org/web:v1", &["a@example.org", WORKFLOW]),
            survey("ghcr.io/org/web:v2", &[WORKFLOW]),
        ];
        let plan = plan(&surveys);
        assert_eq!(
            identities(&plan.policies[0].authorities),
            [&signer(WORKFLOW)]
        );
        assert_eq!(
            identities(&plan.policies[0].spare),
            [&signer("a@example.org")]
        );
    }

    #[test]
    fn workflow_is_preferred_to_a_person() {
        let surveys = [survey(
            "ghcr.io/org/web:v1",
            &["a@example.org", WORKFLOW, "z@example.org"],
        )];
        let plan = plan(&surveys);
        assert_eq!(
            identities(&plan.policies[0].authorities),
            [&signer(WORKFLOW)]
        );
        assert_eq!(plan.policies[0].spare.len(), 2);
    }

    #[test]
    fn image_signed_by_another_than_the_catalogue_expects_gets_no_policy() {
        let surveys = [
            survey("ghcr.io/org/web:v1", &["a@example.org"]),
            survey("ghcr.io/org/api:v1", &["b@example.org"]),
        ];
        let entry = || vec!["org".to_owned()];
        let catalogued = [Catalogued::Admits(entry()), Catalogued::Refuses(entry())];
        let plan = Plan::new(&surveys, &catalogued, BTreeSet::new());
        assert!(plan.policies.is_empty());
        assert_eq!(plan.catalog["org"].len(), 1);
        assert_eq!(plan.refused[0].why, Why::OtherThanCatalog("org".to_owned()));
    }

    #[test]
    fn unsigned_image_and_image_with_an_unknown_key_are_told_apart() {
        let unverified = |is_keyed| Unverified {
            is_keyed,
            reason: "why".to_owned(),
            claimed: None,
        };
        let mut surveys = ["a:1", "b:1", "c:1"].map(|image| survey(image, &[]));
        surveys[1].unverified = vec![unverified(false), unverified(true)];
        surveys[2].unverified = vec![unverified(false)];
        let plan = plan(&surveys);
        let reasons: Vec<_> = plan
            .refused
            .iter()
            .map(|refused| refused.why.clone())
            .collect();
        assert_eq!(
            reasons,
            [
                Why::Unsigned,
                Why::UnknownKey,
                Why::Unverified("why".to_owned())
            ]
        );
    }

    #[test]
    fn policy_names_are_unique() {
        let surveys = [
            survey("ghcr.io/one/web:v1", &["a@example.org"]),
            survey("ghcr.io/two/web:v1", &["b@example.org"]),
            survey("quay.io/two/web:v1", &["c@example.org"]),
        ];
        let taken = BTreeSet::from(["web".to_owned()]);
        let catalogued = vec![Catalogued::No; surveys.len()];
        let plan = Plan::new(&surveys, &catalogued, taken);
        let names: Vec<_> = plan.policies.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names, ["one-web", "two-web", "two-web-2"]);
    }
}
