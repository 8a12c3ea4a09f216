//! Documents beside policies, lists of them, and files of which nothing is of use.

use super::*;
use crate::config::check::{Checked, check};

const NAMESPACE: &str = "apiVersion: v1\nkind: Namespace\nmetadata: {name: x}\n";
const KUSTOMIZATION: &str =
    "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: [p.yaml]\n";
const VALIDATING: &str = "apiVersion: policies.kyverno.io/v1
kind: ValidatingPolicy
metadata: {name: v}
spec: {validations: [{expression: 'true'}]}
";

/// A policy of this name that requires a key.
fn policy(name: &str) -> String {
    let key = KEY_A.replace('\n', "\\n");
    format!(
        "apiVersion: policy.sigstore.dev/v1beta1
kind: ClusterImagePolicy
metadata: {{name: {name}}}
spec:
  images: [{{glob: 'ghcr.io/org/**'}}]
  authorities: [{{key: {{data: \"{key}\"}}, ctlog: {{}}}}]
"
    )
}

fn checked(files: &[(&str, &str)]) -> Checked {
    let directory = Directory::new();
    let paths: Vec<_> = files
        .iter()
        .map(|(name, text)| directory.write(name, text))
        .collect();
    check(&paths, &environment)
}

fn names(checked: &Checked) -> Vec<&str> {
    let policies = checked.policies.iter();
    policies.map(|it| it.name.as_str()).collect()
}

fn notes(checked: &Checked) -> Vec<&str> {
    let notes = checked.notes.iter();
    notes.map(|it| it.message.as_str()).collect()
}

#[test]
fn objects_beside_a_policy_are_passed_over_with_a_note() {
    for other in [
        NAMESPACE,
        KUSTOMIZATION,
        VALIDATING,
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndata: {a: b}\n",
        "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: x}\n",
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: x}\nrules: []\n",
    ] {
        for text in [
            format!("{}---\n{other}", policy("p")),
            format!("{other}---\n{}", policy("p")),
        ] {
            let checked = checked(&[("p.yaml", &text)]);
            assert_eq!(checked.problems, [], "{text}");
            assert_eq!(names(&checked), ["p"], "{text}");
            let [note] = notes(&checked)[..] else {
                panic!("{:?}", checked.notes);
            };
            assert!(note.contains("passed over"), "{note}");
        }
    }
}

#[test]
fn the_items_of_a_list_are_documents() {
    let item = |text: &str| {
        let text = text.trim_end().replace('\n', "\n    ");
        format!("  - {text}\n")
    };
    let list = |version: &str, kind: &str| {
        format!(
            "apiVersion: {version}\nkind: {kind}\nmetadata: {{resourceVersion: ''}}\nitems:\n{}{}{}",
            item(&policy("a")),
            item(NAMESPACE),
            item(&policy("b")),
        )
    };
    for (version, kind) in [
        ("v1", "List"),
        ("policy.sigstore.dev/v1beta1", "ClusterImagePolicyList"),
    ] {
        let checked = checked(&[("p.yaml", &list(version, kind))]);
        assert_eq!(checked.problems, []);
        assert_eq!(names(&checked), ["a", "b"]);
        assert_eq!(notes(&checked).len(), 1);
    }
    // What is wrong in an item has the key that leads to it.
    let broken = list("v1", "List").replace("ctlog: {}", "ctlog: {x: y}");
    let checked = checked(&[("p.yaml", &broken)]);
    let keys: Vec<_> = checked.problems.iter().map(|it| it.key.as_str()).collect();
    assert_eq!(
        keys,
        [
            "items[0].spec.authorities[0].ctlog.x",
            "items[2].spec.authorities[0].ctlog.x"
        ]
    );
}

#[test]
fn a_file_of_which_nothing_is_of_use_is_refused() {
    let good = policy("p");
    let empty_list = "apiVersion: v1\nkind: List\nitems: []\n";
    let misspelt = "apiVersion: v1\nkind: List\nItems: []\n";
    let problems = checked(&[("p.yaml", &good), ("l.yaml", misspelt)]).problems;
    let text = format!("{problems:?}");
    assert!(
        text.contains("Items") && text.contains("`items` is missing"),
        "{text}"
    );
    for useless in [NAMESPACE, VALIDATING, empty_list] {
        for files in [
            &[("n.yaml", useless)][..],
            &[("p.yaml", &good), ("n.yaml", useless)],
        ] {
            let checked = checked(files);
            let messages: Vec<_> = checked.problems.iter().map(|it| &it.message).collect();
            assert_eq!(
                messages,
                ["no document of this file is a policy about images"]
            );
        }
    }
    // Alone, a file of kustomize is no better; beside a policy it is what a pattern of a shell takes in.
    for (name, text) in [
        ("kustomization.yaml", "resources: [p.yaml]\n"),
        ("kustomization.yaml", KUSTOMIZATION),
        ("k.yaml", KUSTOMIZATION),
    ] {
        assert_eq!(checked(&[(name, text)]).problems.len(), 1, "{name}");
        let beside = checked(&[("p.yaml", &good), (name, text)]);
        assert_eq!(beside.problems, [], "{name}");
        assert_eq!(names(&beside), ["p"]);
        assert_eq!(notes(&beside).len(), 1);
    }
}

#[test]
fn a_pattern_takes_in_files_without_policies_beside_others() {
    let configuration = "upstreams: {ghcr.io: {}}\npolicy_files: ['policies/*.yaml']\n";
    let directory = Directory::new();
    directory.write("policies/namespace.yaml", NAMESPACE);
    directory.write("policies/kustomization.yaml", "resources: [p.yaml]\n");
    assert_eq!(directory.problems(configuration).len(), 2);
    directory.write("policies/p.yaml", &policy("p"));
    assert!(directory.load(configuration).is_ok());
    // A file that is named is meant.
    let named =
        "upstreams: {ghcr.io: {}}\npolicy_files: ['policies/p.yaml', 'policies/namespace.yaml']\n";
    assert_eq!(directory.problems(named).len(), 1);
}

#[test]
fn a_policy_in_an_unknown_form_is_not_passed_over() {
    for other in [
        "apiVersion: kyverno.io/v9\nkind: ClusterPolicy\nmetadata: {name: x}\n",
        "apiVersion: config.openshift.io/v1\nkind: ClusterImagePolicy\nmetadata: {name: x}\n",
        "apiVersion: policies.kyverno.io/v9\nkind: ImageValidatingPolicy\nmetadata: {name: x}\n",
    ] {
        let checked = checked(&[("p.yaml", &format!("{}---\n{other}", policy("p")))]);
        let [problem] = checked.problems.as_slice() else {
            panic!("{:?}", checked.problems);
        };
        assert!(problem.message.contains("no policy that is understood"));
    }
}

#[test]
fn an_exception_of_the_cluster_is_told() {
    let exception =
        "apiVersion: kyverno.io/v2\nkind: PolicyException\nmetadata: {name: x}\nspec: {}\n";
    let checked = checked(&[("p.yaml", &format!("{}---\n{exception}", policy("p")))]);
    assert_eq!(checked.problems, []);
    let names: Vec<_> = checked.warnings.iter().map(|it| it.name).collect();
    assert_eq!(names, [Some(WarningName::ExceptionNotRead)]);
}

#[test]
fn policies_in_a_list_of_another_kind_are_read() {
    let item = |text: &str| format!("  - {}\n", text.trim_end().replace('\n', "\n    "));
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec: {containers: []}\n";
    for (version, kind) in [
        ("v1", "PodList"),
        ("apps/v1", "DeploymentList"),
        ("example.com/v1", "WidgetList"),
        ("v2", "List"),
    ] {
        let text = format!(
            "apiVersion: {version}\nkind: {kind}\nitems:\n{}{}",
            item(pod),
            item(&policy("a"))
        );
        let found = checked(&[("p.yaml", &text)]);
        assert_eq!(found.problems, [], "{kind}");
        assert_eq!(names(&found), ["a"], "{kind}");
        // What is wrong in an item has the key that leads to it.
        let broken = text.replace("ctlog: {}", "ctlog: {x: y}");
        let found = checked(&[("p.yaml", &broken)]);
        let keys: Vec<_> = found.problems.iter().map(|it| it.key.as_str()).collect();
        assert_eq!(keys, ["items[1].spec.authorities[0].ctlog.x"], "{kind}");
        // A list within a list.
        let inner = item(&text);
        let outer = format!("apiVersion: v1\nkind: SecretList\nitems:\n{inner}");
        assert_eq!(names(&checked(&[("p.yaml", &outer)])), ["a"], "{kind}");
        // A policy in a form that is not known is not passed over, either.
        let unknown = text.replace("v1beta1", "v9");
        assert_eq!(checked(&[("p.yaml", &unknown)]).problems.len(), 1, "{kind}");
    }
    // The API leaves out the kinds of the items.
    let pods = "apiVersion: v1\nkind: PodList\nitems: [{metadata: {name: x}}]\n";
    let found = checked(&[("p.yaml", &format!("{}---\n{pods}", policy("p")))]);
    assert_eq!((names(&found), notes(&found).len()), (vec!["p"], 1));
    assert_eq!(found.problems, []);
}

#[test]
fn kustomization_that_changes_policies_is_a_warning() {
    let good = policy("p");
    for (name, text, fields) in [
        (
            "kustomization.yaml",
            "resources: [p.yaml]\npatches: [{path: x.yaml}]\n",
            "patches",
        ),
        (
            "kustomization.yml",
            "resources: [p.yaml]\nreplacements: [{path: x.yaml}]\n",
            "replacements",
        ),
        (
            "k.yaml",
            "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\ntransformers: [x.yaml]\nimages: [{name: a}]\n",
            "transformers, images",
        ),
    ] {
        let found = checked(&[("p.yaml", &good), (name, text)]);
        assert_eq!(found.problems, [], "{name}");
        assert_eq!((names(&found), notes(&found).len()), (vec!["p"], 0));
        let [warning] = found.warnings.as_slice() else {
            panic!("{:?}", found.warnings);
        };
        assert_eq!(warning.name, Some(WarningName::KustomizationNotApplied));
        assert!(
            warning.message.contains(&format!("({fields})")),
            "{warning}"
        );
    }
}
