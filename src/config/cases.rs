//! Tables of images and what must be decided about them, for `countersign policy test`.

use std::path::{Path, PathBuf};

use super::reader::{Field, Reader};
use super::yaml::{self, Source};
use super::{Position, Problems, read_file};

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
}

/// What must be decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// It is served.
    Admit,
    /// It is refused.
    Deny,
}

const KEYS: &[&str] = &["config", "cases"];
const CASE_KEYS: &[&str] = &["image", "expect", "kind"];

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
    let cases: Vec<_> = items.iter().map(|item| read_case(item, reader)).collect();
    Some(Table {
        config,
        cases: cases.into_iter().collect::<Option<_>>()?,
    })
}

fn read_case(field: &Field<'_>, reader: &mut Reader) -> Option<Case> {
    let section = field.section(CASE_KEYS, reader);
    let help = "write an image as for `docker pull`";
    let image = section.required("image", help, reader);
    let words = [("admit", Expected::Admit), ("deny", Expected::Deny)];
    let expected = section
        .required("expect", "write admit or deny", reader)
        .and_then(|field| field.choice(&words, reader));
    let kind = section.get("kind");
    if let (Some(kind), Some(Expected::Admit)) = (&kind, expected) {
        reader.problem(kind, "what is admitted has no kind", "remove it");
    }
    let image = image?;
    Some(Case {
        image: image.text(reader)?.to_owned(),
        position: image.node.position.clone(),
        expected: expected?,
        kind: kind.and_then(|field| field.text(reader).map(str::to_owned)),
    })
}
