//! Which images a policy covers.

use super::super::reader::{Field, Reader, Section};
use super::Surroundings;
use crate::config::WarningName;
use crate::policy::{DefaultAction, Pattern};

pub(super) fn read_images(
    field: &Field<'_>,
    surroundings: &Surroundings<'_>,
    reader: &mut Reader,
) -> Option<Vec<Pattern>> {
    let images = read_patterns(field, reader);
    if images.is_empty() {
        if field.items(&mut Reader::default()).is_empty() {
            reader.problem(
                field,
                "the policy covers no image",
                "list repositories, such as ghcr.io/org/**",
            );
        }
        return None;
    }
    for pattern in &images {
        if let Some(host) = pattern.literal_host()
            && !surroundings.hosts.contains(&host)
        {
            reader.warn(
                field,
                WarningName::CoversNothing,
                format!("`{pattern}` covers nothing: {host} is not among the upstreams"),
            );
        }
    }
    Some(images)
}

pub(super) fn read_exclusions(
    field: &Field<'_>,
    images: Option<&[Pattern]>,
    reader: &mut Reader,
) -> Vec<Pattern> {
    let exclude = read_patterns(field, reader);
    for pattern in images.unwrap_or_default() {
        if let Some(exclusion) = exclude.iter().find(|it| pattern.is_within(it)) {
            reader.warn(
                field,
                WarningName::CoversNothing,
                format!("`{pattern}` covers nothing: `{exclusion}` excludes all of it"),
            );
        }
    }
    exclude
}

/// The patterns that are valid; the others have been reported.
pub(in crate::config) fn read_patterns(field: &Field<'_>, reader: &mut Reader) -> Vec<Pattern> {
    let help = "`*` stands for part of one path component, `**` for any number of components: ghcr.io/org/*";
    field
        .items(reader)
        .iter()
        .filter_map(|item| item.parse(help, reader))
        .collect()
}

/// An audit policy waives its own refusals, but a name without any policy is refused: auditing everything would undo
/// `default: deny` without saying so.
pub(super) fn refuse_audit_of_everything(
    images: &[Pattern],
    section: &Section<'_>,
    surroundings: &Surroundings<'_>,
    reader: &mut Reader,
) {
    let covering = images.iter().find(|pattern| pattern.covers_everything());
    if let (Some(pattern), DefaultAction::Deny) = (covering, surroundings.default) {
        reader.problem(
            &section
                .get("images")
                .unwrap_or_else(|| section.field().clone()),
            format!("`{pattern}` covers every name and the policy only audits"),
            "name the repositories, or say `default: audit` as well",
        );
    }
}
