//! `policy catalog`, and what it prints in a configuration.

use crate::commands::{ADMITTED, REFUSED, USAGE, Workplace, code, countersign, json, text};

#[tokio::test]
async fn the_catalogue_is_listed() {
    let output = countersign(&["policy", "catalog"]).await;
    assert_eq!(code(&output), ADMITTED, "{}", text(&output));
    let listed = text(&output);
    let names: Vec<_> = listed
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert_eq!(names[0], "NAME");
    assert!(names[1..].is_sorted() && names.len() > 20, "{listed}");
    for part in [
        "kubernetes",
        "registry.k8s.io/**",
        "https://github.com/kubernetes/website/",
    ] {
        assert!(listed.contains(part), "{part}: {listed}");
    }

    let output = countersign(&["policy", "catalog", "--output", "json"]).await;
    let report = json(&output);
    let entries = report.as_array().unwrap();
    assert_eq!(entries.len(), names.len() - 1);
    let trivy = entries
        .iter()
        .find(|entry| entry["name"] == "trivy")
        .unwrap();
    assert_eq!(trivy["title"], "Trivy");
    assert_eq!(trivy["date"].as_str().unwrap().len(), "2026-11-24".len());
    assert_eq!(trivy["policies"][0]["covers"].as_array().unwrap().len(), 3);
    let requires = trivy["policies"][0]["requires"][0].as_str().unwrap();
    assert!(requires.contains("aquasecurity/trivy"), "{requires}");
}

#[tokio::test]
async fn entries_of_the_catalogue_are_printed_as_configuration() {
    let place = Workplace::new().await;
    let output = countersign(&["policy", "catalog", "distroless", "kubernetes"]).await;
    assert_eq!(code(&output), ADMITTED, "{}", text(&output));
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(
        printed.contains("# Kubernetes: https://github.com/"),
        "{printed}"
    );
    let (_, upstreams) = printed.split_once("under `upstreams`: ").unwrap();
    let (upstreams, _) = upstreams.split_once('\n').unwrap();
    assert_eq!(upstreams, "{gcr.io: {}, registry.k8s.io: {}}");
    let pasted = format!("upstreams: {upstreams}\n{printed}");
    let pasted = place.write("pasted.yaml", &pasted);
    let named = "upstreams: {gcr.io: {}, registry.k8s.io: {}}\ncatalog: [distroless, kubernetes]";
    let named = place.write("named.yaml", named);
    let mut policies = Vec::new();
    for config in [&pasted, &named] {
        let arguments = ["policy", "check", "--strict", "--output", "json", config];
        let output = countersign(&arguments).await;
        assert_eq!(code(&output), ADMITTED, "{}", text(&output));
        let mut report = json(&output)["policies"].take();
        for policy in report.as_array_mut().unwrap() {
            // Where it stands is what differs.
            policy.as_object_mut().unwrap().remove("file");
            policy.as_object_mut().unwrap().remove("line");
        }
        policies.push(report);
    }
    assert_eq!(policies[0].as_array().unwrap().len(), 2);
    assert_eq!(policies[0], policies[1]);

    let output = countersign(&["policy", "catalog", "--output", "json", "spire"]).await;
    assert_eq!(json(&output).as_array().unwrap().len(), 1);
}

/// Each entry is a valid file, and its items can be pasted under `policies` of a configuration that has some.
#[tokio::test]
async fn every_entry_can_be_merged() {
    let place = Workplace::new().await;
    let listed = json(&countersign(&["policy", "catalog", "--output", "json"]).await);
    for entry in listed.as_array().unwrap() {
        let name = entry["name"].as_str().unwrap();
        let printed = countersign(&["policy", "catalog", name]).await;
        let printed = String::from_utf8(printed.stdout).unwrap();
        let (_, upstreams) = printed.split_once("under `upstreams`: ").unwrap();
        let (upstreams, _) = upstreams.split_once('\n').unwrap();
        let (_, items) = printed.split_once("\npolicies:\n").unwrap();
        let own = "policies:\n  - name: own\n    images: [own.example/**]\n    authorities: [{key: key.pub}]\n";
        let base = place.write("base.yaml", &format!("upstreams: {upstreams}\n"));
        let file = place.write("printed.yaml", &printed);
        let pasted = place.write("pasted.yaml", &format!("{own}{items}"));
        let counts = async |file: &str| {
            let arguments = ["policy", "check", "--output", "json", &base, file];
            let output = countersign(&arguments).await;
            assert_eq!(code(&output), ADMITTED, "{name}: {}", text(&output));
            json(&output)["policies"].as_array().unwrap().len()
        };
        let count = entry["policies"].as_array().unwrap().len();
        assert_eq!(counts(&file).await, count, "{name}");
        assert_eq!(counts(&pasted).await, count + 1, "{name}");
    }
}

#[tokio::test]
async fn what_the_catalogue_has_not_is_told_with_names_near_it() {
    let place = Workplace::new().await;
    let output = countersign(&["policy", "catalog", "distroless", "kubernets"]).await;
    assert_eq!(code(&output), USAGE);
    assert!(output.stdout.is_empty());
    let expected = "the catalogue has no `kubernets`; it has kubernetes";
    assert!(text(&output).contains(expected), "{}", text(&output));

    let config = place.write(
        "config.yaml",
        "upstreams: {gcr.io: {}}\ncatalog: [distrolles]",
    );
    let output = countersign(&["policy", "check", &config]).await;
    assert_eq!(code(&output), REFUSED);
    let expected = format!(
        "problem: {config}:2:11: catalog[0]: the catalogue has no `distrolles`\n    near it are distroless"
    );
    assert!(text(&output).contains(&expected), "{}", text(&output));
}
