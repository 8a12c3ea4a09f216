//! What expressions of `matchImageReferences` say of a name of which a part is not known. Where one says no, nothing is
//! covered.

use crate::policy::kyverno::places::DIGESTS;
use crate::policy::kyverno::reference::{Answer, Name, Part, ReferenceRule, TagOf, Test};

use Answer::{Maybe, No, Yes};

const APP: &str = "ghcr.io/a";

fn name(tag: TagOf<'_>, digest: bool) -> Name<'_> {
    Name {
        repository: APP,
        tag,
        digest: digest.then_some(DIGESTS[0]),
    }
}

fn said(part: Part, test: &Test, name: &Name<'_>) -> Answer {
    ReferenceRule::Text(part, test.clone()).of(name)
}

fn assert_said(name: &Name<'_>, cases: &[(Test, Answer)]) {
    for (test, answer) in cases {
        assert_eq!(
            said(Part::Whole, test, name),
            *answer,
            "{test:?} of {name:?}"
        );
    }
}

fn equals(rest: &str) -> Test {
    Test::Equals(format!("{APP}{rest}"))
}

fn starts(rest: &str) -> Test {
    Test::StartsWith(format!("{APP}{rest}"))
}

fn ends(end: &str) -> Test {
    Test::EndsWith(end.to_owned())
}

fn contains(part: &str) -> Test {
    Test::Contains(part.to_owned())
}

fn matches(source: &str) -> Test {
    Test::Matches(regex::Regex::new(source).unwrap())
}

fn hex(length: usize) -> String {
    "f".repeat(length)
}

#[test]
fn an_unknown_tag_is_some_tag() {
    let tag = |length: usize| format!(":{}", "t".repeat(length));
    assert_said(
        &name(TagOf::Unknown, false),
        &[
            (equals(""), No),
            (equals(":"), No),
            (equals(":v1"), Maybe),
            (equals(":v/1"), No),
            (equals(&tag(128)), Maybe),
            (equals(&tag(129)), No),
            (starts(":"), Yes),
            (starts(":v"), Maybe),
            (starts(":v/"), No),
            (starts(&tag(129)), No),
            (ends(""), Yes),
            (ends("v1"), Maybe),
            (ends("a:v1"), Maybe),
            (ends("b:v1"), No),
            (contains("ghcr"), Yes),
            (contains("v1"), Maybe),
            (contains("a:v"), Maybe),
            (contains("v/"), No),
        ],
    );
}

#[test]
fn an_unknown_hash_is_some_hash() {
    let hash = |length: usize| format!("@sha256:{}", hex(length));
    assert_said(
        &name(TagOf::None, true),
        &[
            (equals(&hash(63)), No),
            (equals(&hash(64)), Maybe),
            (equals(&hash(65)), No),
            (equals(&format!("{}g", hash(63))), No),
            (equals("@sha512:ff"), No),
            (starts("@sha256:"), Yes),
            (starts("@sha256:0f"), Maybe),
            (starts("@sha256:0g"), No),
            (starts(&hash(64)), Maybe),
            (starts(&hash(65)), No),
            (ends("ff"), Maybe),
            (ends("fg"), No),
        ],
    );
}

#[test]
fn the_longer_hash_is_longer() {
    let digest = |length: usize| format!("@sha512:{}", hex(length));
    let long = Name {
        digest: Some(DIGESTS[1]),
        ..name(TagOf::None, false)
    };
    let cases = [
        (equals(&digest(127)), No),
        (equals(&digest(128)), Maybe),
        (equals("@sha256:ff"), No),
    ];
    assert_said(&long, &cases);
    for (reference, digest) in [
        ("a.io/b@sha512:00", "sha512:00"),
        ("a.io/b@sha256:00", "sha256:00"),
    ] {
        let rule = ReferenceRule::Text(Part::Digest, Test::Equals(digest.to_owned()));
        assert!(rule.matches(reference));
    }
}

#[test]
fn an_unknown_tag_may_stand_before_a_hash() {
    let digest = |length: usize| format!("@sha256:{}", hex(length));
    assert_said(
        &name(TagOf::Unknown, true),
        &[
            (equals(&format!(":v1{}", digest(64))), Maybe),
            (equals(&format!(":v1{}", digest(63))), No),
            (equals(&format!(":v1{}g", digest(63))), No),
            (equals(&format!(":v/1{}", digest(64))), No),
            (equals(":v1"), No),
            (equals(&digest(64)), No),
            (starts(":v"), Maybe),
            (starts(":v1@sha2"), Maybe),
            (starts(":v/"), No),
            (starts(":v1@sha256:0f"), Maybe),
            (starts(":v1@sha256:0g"), No),
            (starts(&format!(":v1{}", digest(65))), No),
            (contains("1@sha256:"), Maybe),
            (contains("/v"), No),
        ],
    );
}

#[test]
fn an_expression_begins_with_what_is_sure() {
    let digest = name(TagOf::None, true);
    assert_said(
        &digest,
        &[
            // What follows cannot undo a match, unless the end is asked for.
            (matches("^ghcr\\.io/a"), Yes),
            (matches("^ghcr\\.io/a$"), Maybe),
            (matches("^ghcr\\.io/a\\b"), Maybe),
            (matches("^ghcr\\.io/a@sha256:0"), Maybe),
            (matches("^ghcr\\.io/b"), No),
            (matches("^ghcr\\.io/ab*"), Yes),
            (matches("^ghcr.io/b"), Maybe),
            (matches("^ghcr\\wio/b"), Maybe),
            (matches("^[a-z]+/b"), Maybe),
            (matches("^quay"), No),
            (matches("^quay|^ghcr"), Yes),
            (matches("quay"), Maybe),
        ],
    );
    // Of what is known an expression says what it says.
    let known = name(TagOf::Known("v1"), false);
    let cases = [(matches("^ghcr.io/b"), No), (matches(":v1$"), Yes)];
    assert_said(&known, &cases);
}

#[test]
fn parts_are_those_that_are_written() {
    let (tagged, digest) = (name(TagOf::Known("v1"), false), name(TagOf::None, true));
    let (bare, unknown) = (name(TagOf::None, false), name(TagOf::Unknown, false));
    let is = |text: &str| Test::Equals(text.to_owned());
    let hash = Test::StartsWith("sha256:".to_owned());
    for (part, test, name, answer) in [
        (Part::Tag, is("v1"), &tagged, Yes),
        (Part::Tag, is("latest"), &bare, Yes),
        (Part::Tag, is("v1"), &unknown, Maybe),
        (Part::Tag, is(""), &digest, Yes),
        (Part::Tag, is("latest"), &digest, No),
        (Part::Digest, is(""), &tagged, Yes),
        (Part::Digest, is(""), &unknown, Yes),
        (Part::Digest, hash.clone(), &digest, Yes),
        (Part::Identifier, hash, &digest, Yes),
        (Part::Identifier, is("v1"), &tagged, Yes),
        (Part::Identifier, is("v1"), &unknown, Maybe),
    ] {
        assert_eq!(
            said(part, &test, name),
            answer,
            "{part:?} {test:?} {name:?}"
        );
    }
    for (reference, registry, repository, identifier) in [
        ("ghcr.io/app:v1", "ghcr.io", "app", "v1"),
        ("ghcr.io/org/app", "ghcr.io", "org/app", "latest"),
        ("ghcr.io/:v1", "ghcr.io", "", "v1"),
        ("localhost:5000/app", "localhost:5000", "app", "latest"),
        ("nginx:1", "index.docker.io", "library/nginx", "1"),
        (
            "docker.io/nginx",
            "index.docker.io",
            "library/nginx",
            "latest",
        ),
        (
            "library/nginx",
            "index.docker.io",
            "library/nginx",
            "latest",
        ),
        ("docker.io/org/app", "index.docker.io", "org/app", "latest"),
        (
            "localhost/app",
            "index.docker.io",
            "localhost/app",
            "latest",
        ),
        ("ghcr.io/app:v1@sha256:00", "ghcr.io", "app", "sha256:00"),
    ] {
        for (part, text) in [
            (Part::Registry, registry),
            (Part::Repository, repository),
            (Part::Identifier, identifier),
        ] {
            let rule = ReferenceRule::Text(part, is(text));
            assert!(rule.matches(reference), "{part:?} of {reference}: {text}");
        }
    }
}

#[test]
fn what_depends_on_tags_says_so() {
    let is = |part| ReferenceRule::Text(part, Test::Equals("x".to_owned()));
    let starts = |start: &str| ReferenceRule::Text(Part::Whole, Test::StartsWith(start.to_owned()));
    let not = |rule| ReferenceRule::Not(Box::new(rule));
    for (rule, about_tags) in [
        (ReferenceRule::Constant(true), false),
        (is(Part::Registry), false),
        (is(Part::Repository), false),
        (is(Part::Tag), true),
        (is(Part::Digest), true),
        (is(Part::Identifier), true),
        (is(Part::Whole), true),
        (ReferenceRule::HasDigest, true),
        (starts("localhost:5000/app"), false),
        (starts("ghcr.io/app:v"), true),
        (starts("ghcr.io/app@"), true),
        (not(is(Part::Registry)), false),
        (not(is(Part::Tag)), true),
        (
            ReferenceRule::All(vec![is(Part::Registry), is(Part::Tag)]),
            true,
        ),
        (ReferenceRule::Any(vec![is(Part::Registry)]), false),
    ] {
        assert_eq!(rule.is_about_tags(), about_tags, "{rule:?}");
    }
}
