//! The images that manifests name: Kubernetes objects, Docker Compose files, and lists with one image a line.

mod kubernetes;

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::tree;
use crate::cli::image::ImageReference;
use crate::cli::read_file;

/// The most bytes of one file: all pods of a large cluster.
const FILE_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// The most files below one directory, and how deep they may lie.
const FILES_MAX: usize = 20_000;
const DIRECTORY_DEPTH_MAX: usize = 16;
/// The ends of the names of the files that are read below a directory.
const EXTENSIONS: [&str; 3] = ["yaml", "yml", "json"];

/// The images found, and what could not be read.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) images: Vec<NamedImage>,
    /// One sentence each.
    pub(super) unread: Vec<String>,
}

/// An image and the file that names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NamedImage {
    pub(super) image: ImageReference,
    pub(super) place: String,
}

/// Reads files, directories, and standard input for `-`.
///
/// # Errors
/// One sentence about a path that was named and cannot be read. A file below a directory that cannot be read is noted.
pub(super) fn read(paths: &[PathBuf]) -> Result<Found, String> {
    let mut found = Found::default();
    for path in paths {
        let place = path.display().to_string();
        if path.as_os_str() == "-" {
            let text = standard_input().map_err(|error| format!("standard input: {error}"))?;
            found.take("standard input", &text)?;
        } else if path.is_dir() {
            let mut files = Vec::new();
            list(path, 0, &mut files).map_err(|error| format!("{place}: {error}"))?;
            for file in files {
                found.take_below(&file);
            }
        } else {
            let text = text(path).map_err(|error| format!("{place}: {error}"))?;
            found.take(&place, &text)?;
        }
    }
    Ok(found)
}

fn standard_input() -> io::Result<String> {
    let mut bytes = Vec::new();
    let limit = FILE_BYTES_MAX.saturating_add(1);
    io::stdin().lock().take(limit).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > FILE_BYTES_MAX {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    utf8(bytes)
}

fn text(path: &Path) -> io::Result<String> {
    utf8(read_file(path, FILE_BYTES_MAX)?)
}

fn utf8(bytes: Vec<u8>) -> io::Result<String> {
    String::from_utf8(bytes)
        .map_err(|_not_text| io::Error::new(io::ErrorKind::InvalidData, "not UTF-8 text"))
}

/// The files below a directory in the order of their names, hidden ones left out.
fn list(directory: &Path, depth: usize, files: &mut Vec<PathBuf>) -> io::Result<()> {
    let mut entries: Vec<_> = std::fs::read_dir(directory)?.collect::<Result<_, _>>()?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        let is_hidden = entry.file_name().to_string_lossy().starts_with('.');
        let extension = path.extension().and_then(|extension| extension.to_str());
        if is_hidden {
            continue;
        }
        if path.is_dir() {
            // A link may lead back up.
            if depth < DIRECTORY_DEPTH_MAX && !path.is_symlink() {
                list(&path, depth + 1, files)?;
            }
        } else if extension.is_some_and(|extension| EXTENSIONS.contains(&extension)) {
            if files.len() == FILES_MAX {
                return Err(io::Error::other(format!("more than {FILES_MAX} files")));
            }
            files.push(path);
        }
    }
    Ok(())
}

impl Found {
    /// Takes in a file below a directory, where charts and other files may lie too.
    fn take_below(&mut self, path: &Path) {
        let place = path.display().to_string();
        let taken = match text(path) {
            Ok(text) => self.take(&place, &text),
            Err(error) => Err(format!("{place}: {error}")),
        };
        self.unread.extend(taken.err());
    }

    fn take(&mut self, place: &str, text: &str) -> Result<(), String> {
        let names = names(text).map_err(|error| format!("{place}: {error}"))?;
        for name in names {
            match name.and_then(|name| parse(&name)) {
                Ok(image) => self.images.push(NamedImage {
                    image,
                    place: place.to_owned(),
                }),
                Err(error) => self.unread.push(format!("{place}: {error}")),
            }
        }
        Ok(())
    }
}

fn parse(name: &str) -> Result<ImageReference, String> {
    if name.contains("{{") || name.contains("${") {
        return Err(format!("`{name}` is a template: render it first"));
    }
    name.parse()
        .map_err(|error| format!("`{name}` is not an image: {error}"))
}

/// The images that a text names, or what is wrong with one of the names.
type Names = Vec<Result<String, String>>;

/// Reads a list of images, or else documents.
fn names(text: &str) -> Result<Names, String> {
    let text = text.trim_start_matches('\u{feff}');
    let lines: Vec<_> = listed(text).collect();
    if lines
        .iter()
        .all(|(_, name)| name.parse::<ImageReference>().is_ok())
    {
        return Ok(lines
            .into_iter()
            .map(|(_, name)| Ok(name.to_owned()))
            .collect());
    }
    // JSON is YAML, except where it is indented with tabs.
    let documents = match serde_json::from_str(text) {
        Ok(document) => vec![document],
        Err(_not_json) => tree::documents(text)?,
    };
    if documents.iter().all(Value::is_string) {
        return Ok(lines.into_iter().map(listed_name).collect());
    }
    let mut names = Vec::new();
    for document in &documents {
        read_document(document, &mut names);
    }
    Ok(names)
}

/// The lines of a list with their numbers; the rest of a line after a `#` is a comment.
fn listed(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().enumerate();
    lines.filter_map(|(index, line)| {
        let name = line.split('#').next().unwrap_or_default().trim();
        (!name.is_empty()).then_some((index + 1, name))
    })
}

fn listed_name((line, name): (usize, &str)) -> Result<String, String> {
    match parse(name) {
        Ok(_image) => Ok(name.to_owned()),
        Err(error) => Err(format!("line {line}: {error}")),
    }
}

fn read_document(document: &Value, names: &mut Names) {
    match document {
        Value::Array(items) => {
            for item in items {
                match item.as_str() {
                    Some(name) => names.push(Ok(name.to_owned())),
                    None => read_document(item, names),
                }
            }
        }
        Value::Object(entries) => match entries.get("services").and_then(Value::as_object) {
            Some(services) if !entries.contains_key("kind") => {
                names.extend(services.values().filter_map(of_service));
            }
            Some(_) | None => kubernetes::read(document, names),
        },
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The image of a service of Docker Compose. A service that is only built has none.
fn of_service(service: &Value) -> Option<Result<String, String>> {
    let image = service.get("image")?.as_str()?;
    Some(interpolated(image))
}

/// Puts defaults in the place of variables (Compose specification, "Interpolation"): `${NAME:-default}`.
fn interpolated(image: &str) -> Result<String, String> {
    let mut text = String::new();
    let mut rest = image;
    while let Some((before, after)) = rest.split_once("${") {
        let missing = || format!("`{image}` depends on a variable that has no default");
        let (variable, after) = after.split_once('}').ok_or_else(missing)?;
        let is_name = |character: char| character.is_ascii_alphanumeric() || character == '_';
        let operator = variable.trim_start_matches(is_name);
        let default = operator.strip_prefix(":-");
        let default = default.or_else(|| operator.strip_prefix('-'));
        let default = default.ok_or_else(missing)?;
        text.push_str(before);
        text.push_str(default);
        rest = after;
    }
    text.push_str(rest);
    match text.contains('$') {
        true => Err(format!(
            "`{image}` depends on a variable that has no default"
        )),
        false => Ok(text),
    }
}

#[cfg(test)]
mod tests;
