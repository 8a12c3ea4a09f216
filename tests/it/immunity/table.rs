//! SECURITY.md names every known attack and, for each, a test that exists.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Every identifier that was published about a verifier of signatures, or about something it stands on.
const IDENTIFIERS: &[&str] = &[
    "CVE-2022-23649",
    "GHSA-ccxc-vr6p-4858",
    "CVE-2022-36056",
    "GHSA-8gw7-4j42-w388",
    "CVE-2026-22703",
    "GHSA-whqx-f9j3-ch6m",
    "CVE-2024-53267",
    "CVE-2022-35929",
    "GHSA-vjxv-45g9-9296",
    "CVE-2026-39395",
    "GHSA-w6c6-c85g-mmv6",
    "CVE-2022-35930",
    "GHSA-739f-hw6h-7wq8",
    "policy-controller#1971",
    "kyverno#2739",
    "CVE-2025-29778",
    "CVE-2026-22772",
    "GHSA-r2xv-vpr2-42m9",
    "CVE-2023-33959",
    "CVE-2024-51746",
    "CVE-2023-47122",
    "CVE-2026-44309",
    "CVE-2022-47633",
    "GHSA-m3cq-xcx9-3gvm",
    "GHSA-2r43-6962-xcw5",
    "GHSA-wfqx-gjrf-g28r",
    "bpfman#1695",
    "CVE-2024-3727",
    "CVE-2021-41190",
    "GHSA-qq97-vm5h-rrhg",
    "GHSA-5j5w-g665-5m35",
    "CVE-2025-46342",
    "CVE-2026-44310",
    "CVE-2023-47630",
    "GHSA-3hfq-cx9j-923w",
    "CVE-2026-24122",
    "GHSA-wfqv-66vq-46rm",
    "CVE-2026-49834",
    "GHSA-9vcr-p3rj-q5q6",
    "CVE-2026-54787",
    "GHSA-wqqc-jjcq-vfxm",
    "CVE-2026-39984",
    "GHSA-xm5m-wgh2-rrg3",
    "CVE-2025-66564",
    "CVE-2026-24137",
    "CVE-2022-29173",
    "GHSA-3633-5h82-39pq",
    "CVE-2024-47534",
    "CVE-2026-23991",
    "CVE-2026-23992",
    "CVE-2026-24686",
    "CVE-2024-23332",
    "CVE-2024-51491",
    "CVE-2024-56138",
    "RUSTSEC-2023-0052",
    "CVE-2026-32280",
    "RUSTSEC-2026-0049",
    "RUSTSEC-2026-0098",
    "RUSTSEC-2026-0099",
    "RUSTSEC-2026-0104",
    "RUSTSEC-2023-0071",
    "RUSTSEC-2026-0258",
    "CVE-2023-46737",
    "GHSA-vfp6-jrw2-99g9",
    "CVE-2024-29902",
    "GHSA-88jx-383q-w4qc",
    "CVE-2024-29903",
    "GHSA-95pr-fxf5-86gv",
    "CVE-2024-45395",
    "GHSA-cq38-jh5f-37mq",
    "CVE-2023-42813",
    "CVE-2023-42814",
    "CVE-2023-42815",
    "CVE-2023-42816",
    "CVE-2023-25656",
    "CVE-2023-33957",
    "CVE-2023-33958",
    "CVE-2023-30551",
    "CVE-2023-33199",
    "CVE-2026-23831",
    "CVE-2026-48702",
    "CVE-2026-49478",
    "CVE-2025-66506",
    "CVE-2026-29773",
    "CVE-2025-24784",
    "CVE-2023-7279",
    "CVE-2026-33540",
    "CVE-2019-10214",
    "CVE-2026-24845",
    "CVE-2025-27403",
    "CVE-2020-15157",
    "CVE-2026-24117",
    "CVE-2026-35172",
    "CVE-2025-24976",
    "GHSA-gg4x-fgg2-h9w9",
    "CVE-2024-48921",
];

/// A row of the table: identifiers and tests.
struct Row {
    identifiers: Vec<String>,
    place: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn rows() -> Vec<Row> {
    let text = std::fs::read_to_string(root().join("SECURITY.md")).unwrap();
    let (_, table) = text.split_once("## Known attacks").unwrap();
    let (table, _) = table.split_once("\n## ").unwrap();
    let rows = table.lines().filter_map(|line| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, identifiers, _, place, _] = cells.as_slice() else {
            return None;
        };
        let is_heading = identifiers.starts_with('-') || *identifiers == "identifier";
        (!is_heading).then(|| Row {
            identifiers: identifiers.split(", ").map(str::to_owned).collect(),
            place: (*place).to_owned(),
        })
    });
    rows.collect()
}

/// The functions marked as tests, by the name of the file they stand in.
fn tests(directory: &Path, found: &mut BTreeMap<String, BTreeSet<String>>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            tests(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let mut is_test = false;
            for line in text.lines().map(str::trim) {
                if line.starts_with("#[tokio::test") || line == "#[test]" {
                    is_test = true;
                } else if let (true, Some((_, rest))) = (is_test, line.split_once("fn ")) {
                    let name = rest.split('(').next().unwrap();
                    let module = path.file_stem().unwrap().to_str().unwrap();
                    let module = found.entry(module.to_owned()).or_default();
                    module.insert(name.to_owned());
                    is_test = false;
                }
            }
        }
    }
}

/// What stands between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn every_known_attack_is_in_the_table() {
    let listed: BTreeSet<String> = rows().into_iter().flat_map(|row| row.identifiers).collect();
    for identifier in IDENTIFIERS {
        assert!(listed.contains(*identifier), "{identifier} is not listed");
    }
    for identifier in listed {
        let is_known = IDENTIFIERS.contains(&identifier.as_str());
        let is_published = ["CVE-", "GHSA-", "RUSTSEC-"]
            .iter()
            .any(|prefix| identifier.starts_with(prefix));
        assert!(is_known || !is_published, "{identifier} is new");
    }
}

#[test]
fn every_test_in_the_table_exists() {
    let mut found = BTreeMap::new();
    tests(&root().join("tests/it"), &mut found);
    tests(&root().join("src"), &mut found);
    let mut own = BTreeMap::new();
    tests(&root().join("tests/it/immunity"), &mut own);
    let mut named = BTreeSet::new();
    for row in rows() {
        let said = row.identifiers.join(", ");
        let is_clause = row.place.starts_with("does not apply: ");
        assert!(
            is_clause || row.place.contains('`'),
            "{said}: nothing tests it"
        );
        for quoted in quoted(&row.place) {
            let Some((module, test)) = quoted.rsplit_once("::") else {
                let path = root().join(quoted);
                let is_command = quoted.starts_with("cargo ");
                assert!(
                    is_command || path.exists() || path.with_extension("rs").exists(),
                    "{said}: there is no {quoted}"
                );
                continue;
            };
            let module = module.rsplit("::").next().unwrap();
            let is_there = found.get(module).is_some_and(|tests| tests.contains(test));
            assert!(is_there, "{said}: there is no test {quoted}");
            named.insert(test.to_owned());
        }
    }
    for module in [
        "binding",
        "exhaustion",
        "files",
        "found_by_reading",
        "requests",
        "trust_and_time",
    ] {
        for test in &own[module] {
            assert!(named.contains(test), "{module}::{test} is not in the table");
        }
    }
}

#[test]
fn a_test_is_named_after_its_identifier() {
    for row in rows() {
        let tests: Vec<&str> = quoted(&row.place)
            .filter(|quoted| quoted.starts_with("immunity::"))
            .collect();
        let slugs: Vec<String> = row
            .identifiers
            .iter()
            .map(|identifier| identifier.to_lowercase().replace(['-', '#'], "_"))
            .collect();
        let is_named = tests.iter().any(|test| {
            let name = test.rsplit("::").next().unwrap();
            name.starts_with("not_a_cve_") || slugs.iter().any(|slug| name.starts_with(slug))
        });
        assert!(tests.is_empty() || is_named, "{:?}", row.identifiers);
    }
}
