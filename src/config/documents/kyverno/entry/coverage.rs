//! Which images an entry covers: `imageReferences` without `skipImageReferences`.

use super::super::plain;
use crate::config::WarningName;
use crate::config::policies::Surroundings;
use crate::config::reader::{Field, Reader, Section};
use crate::policy::Doubt;
use crate::policy::kyverno::ImageCoverage;

pub(super) fn read(
    section: &Section<'_>,
    doubt: Doubt,
    surroundings: &Surroundings<'_>,
    reader: &mut Reader,
) -> Option<ImageCoverage> {
    let mut fields: Vec<Field<'_>> = Vec::new();
    for key in ["imageReferences", "skipImageReferences"] {
        let list = section.get(key);
        let items = list.map(|it| it.items(reader)).unwrap_or_default();
        let patterns: Option<Vec<_>> = items
            .iter()
            .map(|it| plain::non_empty(it, reader))
            .collect();
        patterns?;
        if key == "imageReferences" {
            fields = items;
        }
    }
    fields.extend(section.get("image"));
    if fields.is_empty() {
        reader.problem(
            section.field(),
            "the entry covers no image",
            "list patterns under `imageReferences`, such as ghcr.io/org/*",
        );
        return None;
    }
    let mut images = Vec::new();
    for field in &fields {
        let pattern = plain::non_empty(field, reader)?;
        note_pattern(pattern, field, doubt, surroundings, reader);
        images.push(pattern.to_owned());
    }
    let list = section.get("skipImageReferences");
    let mut skip = Vec::new();
    for field in list.map(|it| it.items(reader)).unwrap_or_default() {
        let pattern = field.text(reader)?;
        note_skipped(pattern, &images, &field, reader);
        skip.push(pattern.to_owned());
    }
    Some(ImageCoverage::new(images, skip, doubt))
}

/// What its author may not expect of a pattern.
fn note_pattern(
    pattern: &str,
    field: &Field<'_>,
    doubt: Doubt,
    surroundings: &Surroundings<'_>,
    reader: &mut Reader,
) {
    if super::super::super::has_scheme(pattern, "covers", field, reader) {
        return;
    }
    let last = pattern.rsplit('/').next().unwrap_or(pattern);
    let mut hosts = surroundings.hosts.iter();
    if !surroundings.are_of_documents() && !hosts.any(|host| ImageCoverage::can_name(pattern, host))
    {
        reader.warn(
            field,
            WarningName::CoversNothing,
            format!("`{pattern}` covers nothing: it begins with no registry among the upstreams"),
        );
    }
    if !can_end_with_tag(pattern) {
        reader.warn(
            field, WarningName::CoversNothing,
            format!("`{pattern}` covers nothing: it is compared with names that end with a tag or a digest"),
        );
    } else if last.contains(':') && !last.contains('@') || ImageCoverage::compares_tags(pattern) {
        let unknown = match doubt {
            Doubt::DoesNotCover if !last.ends_with(":*") => {
                "is not covered, and neither is one with another tag besides"
            }
            Doubt::Covers | Doubt::DoesNotCover => "is covered, which Kyverno does not do",
        };
        reader.warn(
            field, WarningName::TagsDecide,
            format!(
                "`{pattern}` is compared with the tags through which a digest was asked for; a digest without a known \
                 tag {unknown}"
            ),
        );
    }
}

/// The same of a pattern that takes images away.
fn note_skipped(pattern: &str, images: &[String], field: &Field<'_>, reader: &mut Reader) {
    if super::super::super::has_scheme(pattern, "skips", field, reader) {
        return;
    }
    let mut images = images.iter();
    if let Some(image) = images.find(|it| ImageCoverage::skips_all_of(pattern, it)) {
        reader.warn(
            field,
            WarningName::CoversNothing,
            format!("`{image}` covers nothing: `{pattern}` skips all of it"),
        );
    }
    if !can_end_with_tag(pattern) {
        reader.warn(
            field, WarningName::CoversNothing,
            format!("`{pattern}` skips nothing: it is compared with names that end with a tag or a digest"),
        );
    } else if ImageCoverage::compares_tags(pattern) && !pattern.contains('@') {
        reader.warn(
            field, WarningName::TagsDecide,
            format!(
                "`{pattern}` is compared with the tags through which a digest was asked for; a digest that was only ever \
                 asked for through skipped tags is not covered, and one without a known tag is"
            ),
        );
    }
}

fn can_end_with_tag(pattern: &str) -> bool {
    let last = pattern.rsplit('/').next().unwrap_or(pattern);
    last.contains(['*', '?', ':', '@'])
}
