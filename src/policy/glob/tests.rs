use super::*;

/// policy-controller's own table: image, glob, and whether it matches.
const TABLE: &str = include_str!("../../../tests/fixtures/policies/policy-controller/globs.tsv");

fn tags(known: &[&str]) -> Tags {
    Tags::new(known.iter().map(|tag| (*tag).to_owned()))
}

fn covers(glob: &str, doubt: Doubt, name: &str, known: &[&str]) -> bool {
    let coverage = GlobCoverage::new(vec![Glob::new(glob).unwrap()], doubt);
    coverage.covers(&name.parse().unwrap(), &tags(known))
}

#[test]
fn answers_as_the_project_does() {
    let mut rows = 0;
    for row in TABLE.lines() {
        let [image, glob, expected] = row.split('\t').collect::<Vec<_>>()[..] else {
            panic!("{row}");
        };
        let matched = Glob::new(glob).map(|glob| glob.matches(image));
        // The project's error is either of the glob or of the image.
        match expected {
            "error" => assert!(matched.is_err() || matched == Ok(false), "{row}"),
            expected => assert_eq!(matched, Ok(expected == "true"), "{row}"),
        }
        rows += 1;
    }
    assert_eq!(rows, 42);
}

#[test]
fn a_digest_replaces_the_tag_beside_it() {
    let digest = format!("sha256:{}", "0".repeat(64));
    let glob = |text: &str| Glob::new(text).unwrap();
    let both = format!("ghcr.io/org/app:v1@{digest}");
    assert!(glob(&format!("ghcr.io/org/app@{digest}")).matches(&both));
    assert!(glob("ghcr.io/org/app:*").matches(&both));
    assert!(!glob("ghcr.io/org/app:v1").matches(&both));
    assert!(!glob("**").matches("ghcr.io/org/app@sha256:00"));
}

#[test]
fn globs_that_the_project_refuses_are_refused() {
    for (glob, error) in [
        ("", GlobError::Empty),
        ("[", GlobError::Character('[')),
        (".+", GlobError::Character('+')),
        ("a b", GlobError::Character(' ')),
    ] {
        assert_eq!(Glob::new(glob), Err(error), "{glob}");
    }
    let long = "a".repeat(Glob::BYTES_MAX + 1);
    assert_eq!(Glob::new(&long), Err(GlobError::TooLong));
}

#[test]
fn a_known_tag_is_matched_as_written() {
    let name = "ghcr.io/org/app";
    assert!(covers("ghcr.io/org/app:v1", Doubt::Covers, name, &["v1"]));
    assert!(covers(
        "ghcr.io/org/app:v1",
        Doubt::Covers,
        name,
        &["v0", "v1"]
    ));
    assert!(!covers("ghcr.io/org/app:v1", Doubt::Covers, name, &["v2"]));
    assert!(covers("ghcr.io/org/app:v*", Doubt::Covers, name, &["v2"]));
    assert!(!covers(
        "ghcr.io/org/*:v1",
        Doubt::Covers,
        "ghcr.io/org/a/b",
        &["v1"]
    ));
}

#[test]
fn without_a_known_tag_the_part_for_the_repository_decides() {
    for (glob, name, expected) in [
        ("ghcr.io/org/app:v1", "ghcr.io/org/app", true),
        ("ghcr.io/org/app:*", "ghcr.io/org/app", true),
        ("ghcr.io/org/app:*", "ghcr.io/org/apple", false),
        ("ghcr.io/org/app*", "ghcr.io/org/apple", true),
        ("ghcr.io/**:v1", "ghcr.io/a/b/c", true),
        ("ghcr.io/org/*", "ghcr.io/org/a/b", false),
        // `*` goes across the colon: this covers app:xbar.
        ("ghcr.io/org/a*bar", "ghcr.io/org/app", true),
        ("ghcr.io/org/app@sha256:*", "ghcr.io/org/app", true),
        ("ghcr.io/org", "ghcr.io/org/app", false),
    ] {
        assert_eq!(
            covers(glob, Doubt::Covers, name, &[]),
            expected,
            "{glob} {name}"
        );
    }
}

#[test]
fn a_glob_for_a_digest_covers_what_was_asked_for_by_tag() {
    let digest = "0123456789abcdef".repeat(4);
    let glob = format!("ghcr.io/org/app@sha256:{digest}");
    assert!(covers(&glob, Doubt::Covers, "ghcr.io/org/app", &["v1"]));
    assert!(!covers(&glob, Doubt::Covers, "ghcr.io/org/other", &["v1"]));
    // No digest is that short.
    assert!(!covers(
        "ghcr.io/**:1",
        Doubt::Covers,
        "ghcr.io/org/app",
        &["2"]
    ));
}

#[test]
fn every_spelling_of_a_name_of_docker_hub_counts() {
    let name = "docker.io/library/nginx";
    for glob in [
        "nginx",
        "nginx:latest",
        "library/nginx",
        "docker.io/nginx",
        "docker.io/library/nginx*",
        "index.docker.io/library/nginx:*",
        "registry-1.docker.io/library/nginx:*",
        "*",
        "**",
    ] {
        assert!(covers(glob, Doubt::Covers, name, &["latest"]), "{glob}");
        assert!(covers(glob, Doubt::Covers, name, &[]), "{glob}");
    }
    for host in OTHER_DOCKER_HUBS {
        let glob = format!("{host}/library/*");
        assert!(covers(&glob, Doubt::Covers, name, &["1"]), "{glob}");
        assert!(covers(&glob, Doubt::Covers, name, &[]), "{glob}");
    }
    assert!(!covers("nginx", Doubt::Covers, name, &["1.29"]));
    assert!(!covers("*/*", Doubt::Covers, "ghcr.io/org/app", &[]));
    assert!(covers("*/*", Doubt::Covers, "docker.io/org/app", &[]));
}

#[test]
fn what_admits_without_evidence_covers_only_what_is_certain() {
    let name = "ghcr.io/org/app";
    for (glob, known, expected) in [
        ("ghcr.io/org/app:v1", &[][..], false),
        ("ghcr.io/org/app:v1", &["v1"][..], true),
        ("ghcr.io/org/app:v1", &["v2"][..], false),
        ("ghcr.io/org/app:v1", &["v1", "v2"][..], false),
        ("ghcr.io/org/app:*", &[][..], false),
        ("ghcr.io/org/app*", &[][..], true),
        ("ghcr.io/org/*", &[][..], true),
        ("ghcr.io/**", &[][..], true),
        ("ghcr.io/**:v1", &["v2"][..], false),
        ("ghcr.io/org/app", &[][..], false),
    ] {
        let covered = covers(glob, Doubt::DoesNotCover, name, known);
        assert_eq!(covered, expected, "{glob} {known:?}");
    }
    // Each tag may be covered by a glob of its own.
    let globs = ["ghcr.io/org/app:v1", "ghcr.io/org/app:v2"].map(|it| Glob::new(it).unwrap());
    let coverage = GlobCoverage::new(globs.to_vec(), Doubt::DoesNotCover);
    let name: RepositoryName = name.parse().unwrap();
    assert!(coverage.covers(&name, &tags(&["v1", "v2"])));
    assert!(!coverage.covers(&name, &tags(&["v1", "v3"])));
    // Only the full name is certain.
    assert!(!covers(
        "nginx*",
        Doubt::DoesNotCover,
        "docker.io/library/nginx",
        &[]
    ));
    assert!(covers(
        "index.docker.io/**",
        Doubt::DoesNotCover,
        "docker.io/library/nginx",
        &[]
    ));
}

#[test]
fn tells_globs_about_tags() {
    for (glob, expected) in [
        ("**", false),
        ("ghcr.io/org/*", false),
        ("ghcr.io/org/app*", false),
        ("ghcr.io/org/app", true),
        ("ghcr.io/org/app:*", true),
        ("ghcr.io/org/app@sha256:*", true),
    ] {
        assert_eq!(Glob::new(glob).unwrap().is_about_tags(), expected, "{glob}");
    }
}

#[test]
fn what_is_no_reference_matches_nothing() {
    let glob = Glob::new("**").unwrap();
    for reference in [
        "ghcr.io/org/app:",
        "ghcr.io/org/app:a b",
        "ghcr.io/org/app:a\nb",
        "ghcr.io/org/app:v1:v2",
        "ghcr.io/org/A",
        "ghcr.io/org/app@",
        "ghcr.io/org/app@sha256",
    ] {
        assert!(!glob.matches(reference), "{reference:?}");
    }
    assert!(!glob.matches(&format!("ghcr.io/org/app:{}", "a".repeat(129))));
    assert!(glob.matches(&format!("ghcr.io/org/app:{}", "a".repeat(128))));
    let by_digest = |digest: String| glob.matches(&format!("ghcr.io/org/app@{digest}"));
    assert!(by_digest(format!("sha256:{}", "0a".repeat(32))));
    for digits in ["0a".repeat(31), "0g".repeat(32), "0A".repeat(32)] {
        assert!(!by_digest(format!("sha256:{digits}")), "{digits}");
    }
    assert!(!by_digest(format!("sha512:{}", "0a".repeat(64))));
}

#[test]
fn a_coverage_is_what_its_globs_are_together() {
    let coverage = |globs: &[&str], doubt| {
        let globs = globs.iter().map(|glob| Glob::new(glob).unwrap());
        GlobCoverage::new(globs.collect(), doubt)
    };
    let of = |globs: &[&str]| coverage(globs, Doubt::Covers);
    let both = of(&["ghcr.io/org/*", "ghcr.io/app:v1"]);
    assert!(both.is_about_tags());
    assert!(!of(&["ghcr.io/org/*"]).is_about_tags());
    assert_eq!(both.patterns(), ["ghcr.io/org/*", "ghcr.io/app:v1"]);
    assert!(both.matches("ghcr.io/app:v1") && both.matches("ghcr.io/org/a:v2"));
    assert!(!both.matches("ghcr.io/app:v2"));
    // The description goes into the hash of a policy.
    let described = [
        both.describe(),
        of(&["ghcr.io/org/*"]).describe(),
        of(&["ghcr.io/app:v1"]).describe(),
        coverage(&["ghcr.io/app:v1"], Doubt::DoesNotCover).describe(),
    ];
    for (index, one) in described.iter().enumerate() {
        assert!(!described[..index].contains(one), "{one}");
    }
}

#[test]
fn knows_what_covers_everything() {
    for (glob, expected) in [
        ("**", true),
        ("**:latest", true),
        ("**@sha256:**", true),
        ("*.*/**", true),
        ("*/**", true),
        // All of Docker Hub.
        ("*/*", false),
        ("ghcr.io/**", false),
    ] {
        for doubt in [Doubt::Covers, Doubt::DoesNotCover] {
            let coverage = GlobCoverage::new(vec![Glob::new(glob).unwrap()], doubt);
            assert_eq!(coverage.covers_everything(), expected, "{glob} {doubt:?}");
        }
    }
}

#[test]
fn many_wildcards_take_no_longer() {
    let glob = Glob::new(&"*a".repeat(200)).unwrap();
    assert!(!glob.matches(&format!("ghcr.io/{}", "b".repeat(200))));
}
