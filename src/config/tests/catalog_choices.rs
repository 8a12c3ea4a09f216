use super::*;

fn with_catalog(hosts: &[&str], catalog: &str) -> String {
    let hosts: Vec<_> = hosts.iter().map(|host| format!("{host}: {{}}")).collect();
    format!("upstreams: {{{}}}\ncatalog: {catalog}", hosts.join(", "))
}

#[test]
fn entries_are_taken_by_name() {
    let directory = Directory::new();
    let text = with_catalog(&["registry.k8s.io", "gcr.io"], "[kubernetes, distroless]");
    let config = directory.load(&text).unwrap();
    assert_eq!(config.warnings, []);
    assert_eq!(policy_names(&config), ["kubernetes", "distroless"]);
    let kubernetes = &config.policies.policies[0];
    assert_eq!(kubernetes.mode, Mode::Enforce);
    let origin = kubernetes.origin.as_ref().unwrap();
    assert_eq!(origin.file, "catalog/kubernetes.yaml");
    let file = std::fs::read_to_string("config/catalog/kubernetes.yaml").unwrap();
    let line = file.lines().nth(origin.line - 1).unwrap();
    assert_eq!(line, "  - name: kubernetes");
}

#[test]
fn the_mode_of_an_entry_can_be_audit() {
    let directory = Directory::new();
    let audited = with_catalog(&["gcr.io"], "[{name: distroless, mode: audit}]");
    let enforced = with_catalog(&["gcr.io"], "[{name: distroless, mode: enforce}]");
    let named = with_catalog(&["gcr.io"], "[distroless]");
    let policy = |text: &str| {
        let config = directory.load(text).unwrap();
        Arc::clone(&config.policies.policies[0])
    };
    assert_eq!(policy(&audited).mode, Mode::Audit);
    assert_eq!(policy(&enforced).mode, Mode::Enforce);
    assert_ne!(policy(&audited).hash, policy(&named).hash);
    assert_eq!(policy(&enforced).hash, policy(&named).hash);
}

#[test]
fn all_entries_are_taken_together() {
    let directory = Directory::new();
    // Most of them cover nothing here, which is no mistake of who takes all.
    let config = directory.load(&with_catalog(&["gcr.io"], "all")).unwrap();
    assert_eq!(config.warnings, []);
    assert!(policy_names(&config).len() >= 20);
}

#[test]
fn printed_entries_mean_the_same_as_named_ones() {
    let directory = Directory::new();
    let built_in = Config::built_in().unwrap();
    let hosts: Vec<_> = built_in.upstreams.keys().map(String::as_str).collect();
    let entries = catalog::entries().unwrap();
    let native: String = entries.iter().map(catalog::Entry::native).collect();
    let pasted = with_catalog(&hosts, "\npolicies:\n") + &native;
    let config = directory.load(&pasted).unwrap();
    assert_eq!(config.warnings, []);
    assert_eq!(config.policies.hash, built_in.policies.hash);
    for entry in &entries {
        let expected = format!("  # {}: {}, read ", entry.title, entry.source);
        assert!(entry.native().starts_with(&expected), "{}", entry.native());
    }
}

#[test]
fn what_cannot_be_taken_is_told() {
    let directory = Directory::new();
    for (hosts, catalog, expected) in [
        (
            "gcr.io",
            "[distrolesss]",
            "c.yaml:2:11: catalog[0]: the catalogue has no `distrolesss`",
        ),
        (
            "gcr.io",
            "[distroless, {name: distroless}]",
            "c.yaml:2:23: catalog[1]: `distroless` is there twice",
        ),
        (
            "gcr.io",
            "[{name: distroless, mode: off}]",
            "c.yaml:2:36: catalog[0].mode: `off` is not known here",
        ),
        (
            "gcr.io",
            "[{mode: audit}]",
            "c.yaml:2:11: catalog[0]: `name` is missing",
        ),
        (
            "gcr.io",
            "[{name: distroless, images: [gcr.io/a/b]}]",
            "c.yaml:2:30: catalog[0].images: unknown key",
        ),
        (
            "gcr.io",
            "some",
            "c.yaml:2:10: catalog: `some` is not known here",
        ),
        (
            "gcr.io",
            "[distroless]\npolicies: [{name: distroless, images: [gcr.io/a/b], authorities: [{key: a.pub}]}]",
            "c.yaml:2:11: catalog[0]: `distroless` is the name of two policies",
        ),
    ] {
        let problems = directory.problems(&with_catalog(&[hosts], catalog));
        assert_eq!(problems, [expected]);
    }
    let text = with_catalog(&["gcr.io"], "[argo]");
    let Problems(problems) = directory.load(&text).unwrap_err();
    assert_eq!(
        problems[0].help,
        "near it are argo-cd, argo-rollouts, kargo; `countersign policy catalog` lists all"
    );
}

#[test]
fn an_entry_covers_what_is_pulled() {
    let directory = Directory::new();
    assert_eq!(
        directory.warnings(&with_catalog(&["quay.io"], "[kubernetes]")),
        [
            "c.yaml:2:11: catalog[0]: `kubernetes` covers nothing: none of its hosts is among the upstreams"
        ]
    );
    // One of several hosts is enough.
    let text = with_catalog(&["docker.io"], "[flux]");
    assert_eq!(directory.warnings(&text), [] as [&str; 0]);
}
