//! Tables of images and what must be decided about them, for `countersign policy test`.

use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::reader::{Field, Reader};
use super::yaml::{self, Source};
use super::{Position, Problems, read_file};
use crate::decision_log::KindName;

/// Images and what must be decided about them.
#[derive(Debug)]
pub struct Table {
    /// The configuration files, later ones over earlier ones.
    pub config: Vec<PathBuf>,
    /// In order; never empty.
    pub cases: Vec<Case>,
}

/// One image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// As for `docker pull`.
    pub image: String,
    /// Where it is written.
    pub position: Position,
    /// What must be decided.
    pub expected: Expected,
    /// The fixed word of the refusal; any if absent.
    pub kind: Option<String>,
    /// The directory with what was recorded of it, from which it is decided; absent where registries are asked.
    pub evidence: Option<PathBuf>,
    /// At which time it is decided from that.
    pub at: At,
}

/// At which time something recorded is decided about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// When it was recorded, so that the answer is the same on every day.
    Recorded,
    /// Now, as a pull would.
    Now,
    /// Then.
    Time(Timestamp),
}

/// What must be decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// It is served, because it satisfies what is enforced.
    Admit,
    /// It is served only because the policies that refuse it audit.
    Audit,
    /// It is refused.
    Deny,
}

const KEYS: &[&str] = &["config", "evidence", "at", "cases"];
const CASE_KEYS: &[&str] = &["image", "expect", "kind", "evidence", "at"];

/// What counts for cases that do not say otherwise.
struct Defaults {
    evidence: Option<PathBuf>,
    at: Option<At>,
}

impl Table {
    /// Reads a table.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn load(path: &Path) -> Result<Self, Problems> {
        let text = read_file(path).map_err(|problem| Problems(vec![*problem]))?;
        let source = Source {
            path: path.to_owned(),
            text,
        };
        let root = yaml::parse(&source).map_err(Problems)?;
        let mut reader = Reader::default();
        let table = read(&Field::root(&root), &mut reader);
        match table {
            Some(table) if reader.problems.is_empty() => Ok(table),
            Some(_) | None => Err(Problems(reader.problems)),
        }
    }
}

fn read(root: &Field<'_>, reader: &mut Reader) -> Option<Table> {
    let section = root.section(KEYS, reader);
    let help = "list the configuration files: [config.yaml]";
    let config = section.required("config", help, reader);
    let config = config.map(|field| field.items(reader)).unwrap_or_default();
    let config: Vec<_> = config.iter().filter_map(|it| it.path(reader)).collect();
    let help = "list {image: …, expect: admit} and {image: …, expect: deny}";
    let field = section.required("cases", help, reader)?;
    let items = field.items(reader);
    if items.is_empty() {
        reader.problem(&field, "no case", help);
    }
    let evidence = section.get("evidence");
    let at = section.get("at");
    let defaults = Defaults {
        evidence: evidence.and_then(|field| field.path(reader)),
        at: at.as_ref().and_then(|field| read_time(field, reader)),
    };
    let cases: Vec<_> = items
        .iter()
        .map(|item| read_case(item, &defaults, reader))
        .collect();
    Some(Table {
        config,
        cases: cases.into_iter().collect::<Option<_>>()?,
    })
}

fn read_case(field: &Field<'_>, defaults: &Defaults, reader: &mut Reader) -> Option<Case> {
    let section = field.section(CASE_KEYS, reader);
    let help = "write an image as for `docker pull`";
    let image = section.required("image", help, reader);
    let words = [
        ("admit", Expected::Admit),
        ("audit", Expected::Audit),
        ("deny", Expected::Deny),
    ];
    let expected = section
        .required("expect", "write admit, audit or deny", reader)
        .and_then(|field| field.choice(&words, reader));
    let kind = section.get("kind");
    if let (Some(kind), Some(Expected::Admit | Expected::Audit)) = (&kind, expected) {
        reader.problem(kind, "what is served has no kind", "remove it");
    }
    let evidence = match section.get("evidence") {
        Some(field) => field.path(reader),
        None => defaults.evidence.clone(),
    };
    let at = section.get("at");
    let time = at.as_ref().and_then(|field| read_time(field, reader));
    if let (Some(at), None) = (&at, &evidence) {
        let help = "name the directory under `evidence`, or remove it";
        reader.problem(
            at,
            "only what was recorded is decided about at another time",
            help,
        );
    }
    let image = image?;
    Some(Case {
        image: image.text(reader)?.to_owned(),
        position: image.node.position.clone(),
        expected: expected?,
        kind: kind.and_then(|field| read_kind(&field, reader)),
        evidence,
        at: time.or(defaults.at).unwrap_or(At::Recorded),
    })
}

fn read_kind(field: &Field<'_>, reader: &mut Reader) -> Option<String> {
    match field.text(reader)?.parse::<KindName>() {
        Ok(kind) => Some(kind.as_str().to_owned()),
        Err(error) => {
            reader.problem(field, error.to_string(), "");
            None
        }
    }
}

fn read_time(field: &Field<'_>, reader: &mut Reader) -> Option<At> {
    match field.text(reader)? {
        "recorded" => Some(At::Recorded),
        "now" => Some(At::Now),
        _ => {
            let help = "write `recorded`, `now`, or a time such as 2026-11-23T09:00:00Z";
            field.parse(help, reader).map(At::Time)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(
        clippy::unwrap_in_result,
        reason = "a test ends where something cannot be"
    )]
    fn load(text: &str) -> Result<Table, String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("cases.yaml");
        std::fs::write(&path, text).unwrap();
        let strip = format!("{}/", directory.path().display());
        let table =
            Table::load(&path).map_err(|problems| problems.to_string().replace(&strip, ""))?;
        let relative = |path: &PathBuf| path.strip_prefix(directory.path()).unwrap().to_owned();
        Ok(Table {
            config: table.config.iter().map(relative).collect(),
            cases: table
                .cases
                .into_iter()
                .map(|case| Case {
                    evidence: case.evidence.as_ref().map(relative),
                    ..case
                })
                .collect(),
        })
    }

    #[test]
    fn cases_say_from_what_and_when_they_are_decided() {
        let table = load(
            "config: [c.yaml]
evidence: all
at: now
cases:
  - {image: a, expect: admit}
  - {image: b, expect: deny, evidence: other, at: recorded}
  - {image: c, expect: deny, at: '2026-01-02T03:04:05Z'}
",
        )
        .unwrap();
        let said: Vec<_> = table
            .cases
            .iter()
            .map(|case| (case.evidence.as_ref().unwrap().to_str().unwrap(), case.at))
            .collect();
        let then = "2026-01-02T03:04:05Z".parse().unwrap();
        assert_eq!(
            said,
            [
                ("all", At::Now),
                ("other", At::Recorded),
                ("all", At::Time(then))
            ]
        );
        let table = load("config: [c.yaml]\ncases: [{image: a, expect: admit}]").unwrap();
        assert_eq!(table.cases[0].evidence, None);
        assert_eq!(table.cases[0].at, At::Recorded);
    }

    #[test]
    fn times_are_times_and_for_what_was_recorded() {
        for (case, problem) in [
            (
                "{image: a, expect: deny, at: now}",
                "only what was recorded",
            ),
            (
                "{image: a, expect: deny, evidence: e, at: soon}",
                "write `recorded`, `now`, or a time",
            ),
            ("{image: a, expect: deny, evidence: [e]}", "evidence"),
        ] {
            let problems = load(&format!("config: [c.yaml]\ncases: [{case}]")).unwrap_err();
            assert!(problems.contains(problem), "{case}: {problems}");
        }
    }
}
