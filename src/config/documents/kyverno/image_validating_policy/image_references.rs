//! `matchImageReferences`: which images the policy is for.

use crate::config::WarningName;
use cel::IdedExpr;
use cel::common::ast::{CallExpr, ComprehensionExpr, Expr, LiteralValue, operators};

use super::expression::{Expression, Refusal, literal_text};
use crate::config::policies::Surroundings;
use crate::config::reader::{Field, Reader, Section, describe};
use crate::oci::repository::OTHER_DOCKER_HUBS;
use crate::policy::Matcher;
use crate::policy::kyverno::glob::Glob;
use crate::policy::kyverno::reference::{Part, ReferenceRule, Test};
use crate::policy::kyverno::{ReferenceCoverage, ReferenceMatcher};

const KEYS: &[&str] = &["glob", "expression"];

const HELP: &str = "an expression compares `ref`, the name of the image as a Pod has it, or a part of it such as \
                    parseImageReference(ref).registry(), with texts: ==, !=, in, startsWith, endsWith, contains, matches";

/// What the entries cover together; nothing where one is not usable, which has been reported.
pub(super) fn read(
    field: Option<&Field<'_>>,
    surroundings: &Surroundings<'_>,
    reader: &mut Reader,
) -> Option<ReferenceCoverage> {
    let Some(field) = field else {
        return Some(ReferenceCoverage::new(Vec::new()));
    };
    let items = field.items(reader);
    if items.is_empty() {
        reader.warn(
            field,
            WarningName::CoversEverything,
            "an empty list: the policy covers every image",
        );
    }
    let matchers: Vec<_> = items
        .iter()
        .map(|item| read_entry(item, surroundings, reader))
        .collect();
    let matchers = matchers.into_iter().collect::<Option<_>>()?;
    Some(ReferenceCoverage::new(matchers))
}

fn read_entry(
    field: &Field<'_>,
    surroundings: &Surroundings<'_>,
    reader: &mut Reader,
) -> Option<ReferenceMatcher> {
    let section: Section<'_> = field.section(KEYS, reader);
    match (section.get("glob"), section.get("expression")) {
        (Some(field), None) => read_glob(&field, surroundings, reader),
        (None, Some(field)) => read_expression(&field, reader),
        _ => {
            reader.problem(
                field,
                "not exactly one of `glob` and `expression`",
                "make an entry of each: one of them must match",
            );
            None
        }
    }
}

fn read_glob(
    field: &Field<'_>,
    surroundings: &Surroundings<'_>,
    reader: &mut Reader,
) -> Option<ReferenceMatcher> {
    let text = field.text(reader)?;
    match Glob::new(text) {
        Ok(glob) => {
            note_glob(&glob, field, surroundings, reader);
            Some(ReferenceMatcher::Glob(glob))
        }
        Err(error) => {
            let help = "write a glob such as ghcr.io/org/*";
            reader.problem(field, describe(&error), help);
            None
        }
    }
}

/// What its author may not expect of a glob.
fn note_glob(glob: &Glob, field: &Field<'_>, surroundings: &Surroundings<'_>, reader: &mut Reader) {
    let source = glob.source();
    if super::super::super::has_scheme(source, "covers", field, reader) {
        return;
    }
    let first = source.split('/').next().unwrap_or(source);
    let names_no_registry =
        !source.contains('/') || !first.contains(['.', ':', '*', '?', '[', '{']);
    let mut hosts = surroundings.hosts.iter();
    let others = OTHER_DOCKER_HUBS;
    let can_match = hosts.any(|host| {
        glob.can_begin(&format!("{host}/"))
            || *host == "docker.io"
                && (names_no_registry
                    || others
                        .iter()
                        .any(|other| glob.can_begin(&format!("{other}/"))))
    });
    if !can_match && !surroundings.are_of_documents() {
        reader.warn(
            field,
            WarningName::CoversNothing,
            format!("`{source}` covers nothing: it begins with no registry among the upstreams"),
        );
    }
    let last = source.rsplit('/').next().unwrap_or(source);
    if !last.contains(['*', '?', ':', '@', '[', '{']) {
        reader.warn(
            field, WarningName::TagsDecide,
            format!(
                "`{source}` is compared with all of the name in a Pod: it covers the tag `latest`, where a Pod need not \
                 write it, and digests without a known tag"
            ),
        );
    } else if last.contains(':') && !last.contains('@') {
        reader.warn(
            field, WarningName::TagsDecide,
            format!(
                "the tag in `{source}` is compared with the tags through which a digest was asked for; a digest \
                 without a known tag is covered, which Kyverno does not do"
            ),
        );
    }
}

fn read_expression(field: &Field<'_>, reader: &mut Reader) -> Option<ReferenceMatcher> {
    let expression = Expression::read(field, reader)?;
    match rule(&expression.root, &mut Vec::new()) {
        Ok(rule) => {
            let matcher = ReferenceMatcher::Expression {
                source: expression.source,
                rule,
            };
            if matcher.is_undecided_for_digests() {
                reader.warn(
                    field, WarningName::TagsDecide,
                    "for a digest without a known tag this has no answer in any repository: the policy covers all of \
                     these; begin with the registry and repository, as in ref.startsWith('ghcr.io/org/')",
                );
            }
            Some(matcher)
        }
        Err(refusal) => {
            expression.report(refusal, field, reader);
            None
        }
    }
}

/// What a part of an expression stands for.
#[derive(Debug, Clone)]
enum Said {
    Rule(ReferenceRule),
    /// The name of the image, or a part of it.
    Part(Part),
    /// What `parseImageReference` makes of the name.
    Parsed,
    Text(String),
    Texts(Vec<String>),
}

type Scope = Vec<(String, Said)>;

fn rule(part: &IdedExpr, scope: &mut Scope) -> Result<ReferenceRule, Refusal> {
    if let Said::Rule(rule) = said(part, scope)? {
        return Ok(rule);
    }
    Err(Refusal::new(part, "neither true nor false", HELP))
}

fn said(part: &IdedExpr, scope: &mut Scope) -> Result<Said, Refusal> {
    if let Some(text) = literal_text(part) {
        return Ok(Said::Text(text.to_owned()));
    }
    match &part.expr {
        Expr::Literal(LiteralValue::Boolean(value)) => {
            Ok(Said::Rule(ReferenceRule::Constant(*value.inner())))
        }
        Expr::Ident(name) => {
            let bound = scope.iter().rev().find(|(bound, _)| bound == name);
            match bound {
                Some((_, said)) => Ok(said.clone()),
                None if name == "ref" => Ok(Said::Part(Part::Whole)),
                None => Err(Refusal::new(part, format!("`{name}` is not known"), HELP)),
            }
        }
        Expr::List(list) => {
            let texts = list.elements.iter().map(|item| text(item, scope));
            texts.collect::<Result<_, _>>().map(Said::Texts)
        }
        Expr::Call(call) => call_of(part, call, scope),
        Expr::Comprehension(comprehension) => loop_over(part, comprehension, scope),
        Expr::Unspecified | Expr::Literal(_) | Expr::Map(_) | Expr::Select(_) | Expr::Struct(_) => {
            Err(not_supported(part))
        }
    }
}

fn not_supported(part: &IdedExpr) -> Refusal {
    Refusal::new(
        part,
        "this is not supported over the name of an image",
        HELP,
    )
}

fn text(part: &IdedExpr, scope: &mut Scope) -> Result<String, Refusal> {
    if let Said::Text(text) = said(part, scope)? {
        return Ok(text);
    }
    Err(Refusal::new(part, "a text is expected here", HELP))
}

fn call_of(part: &IdedExpr, call: &CallExpr, scope: &mut Scope) -> Result<Said, Refusal> {
    let function = call.func_name.as_str();
    let rules = |rule: ReferenceRule| Ok(Said::Rule(rule));
    match (function, call.target.as_deref(), call.args.as_slice()) {
        (operators::LOGICAL_AND, None, [left, right]) => rules(ReferenceRule::All(vec![
            rule(left, scope)?,
            rule(right, scope)?,
        ])),
        (operators::LOGICAL_OR, None, [left, right]) => rules(ReferenceRule::Any(vec![
            rule(left, scope)?,
            rule(right, scope)?,
        ])),
        (operators::LOGICAL_NOT, None, [operand]) => {
            rules(ReferenceRule::Not(Box::new(rule(operand, scope)?)))
        }
        // It only says whether a loop may end early.
        (operators::NOT_STRICTLY_FALSE, None, [_]) => rules(ReferenceRule::Constant(true)),
        (operators::EQUALS, None, [left, right]) => rules(equal(part, left, right, scope)?),
        (operators::NOT_EQUALS, None, [left, right]) => {
            let equal = equal(part, left, right, scope)?;
            rules(ReferenceRule::Not(Box::new(equal)))
        }
        (operators::IN, None, [left, right]) => {
            let (Said::Part(looked_at), Said::Texts(texts)) =
                (said(left, scope)?, said(right, scope)?)
            else {
                return Err(not_supported(part));
            };
            let tests = texts.into_iter().map(Test::Equals);
            let tests = tests.map(|test| ReferenceRule::Text(looked_at, test));
            rules(ReferenceRule::Any(tests.collect()))
        }
        ("image" | "parseImageReference", None, [name]) => match said(name, scope)? {
            Said::Part(Part::Whole) => Ok(Said::Parsed),
            Said::Part(_) | Said::Rule(_) | Said::Parsed | Said::Text(_) | Said::Texts(_) => {
                Err(not_supported(name))
            }
        },
        ("containsDigest", Some(target), []) => {
            parsed(target, scope)?;
            rules(ReferenceRule::HasDigest)
        }
        (_, Some(target), []) => {
            let looked_at = part_named(function).ok_or_else(|| not_supported(part))?;
            parsed(target, scope)?;
            Ok(Said::Part(looked_at))
        }
        (_, Some(target), [argument]) => {
            let Said::Part(looked_at) = said(target, scope)? else {
                return Err(not_supported(part));
            };
            let argument = text(argument, scope)?;
            let test = test(part, function, argument)?;
            rules(ReferenceRule::Text(looked_at, test))
        }
        _ => Err(not_supported(part)),
    }
}

fn parsed(part: &IdedExpr, scope: &mut Scope) -> Result<(), Refusal> {
    if let Said::Parsed = said(part, scope)? {
        return Ok(());
    }
    Err(Refusal::new(
        part,
        "not the name of the image",
        "write parseImageReference(ref)",
    ))
}

pub(super) fn part_named(function: &str) -> Option<Part> {
    match function {
        "registry" => Some(Part::Registry),
        "repository" => Some(Part::Repository),
        "tag" => Some(Part::Tag),
        "digest" => Some(Part::Digest),
        "identifier" => Some(Part::Identifier),
        _ => None,
    }
}

fn equal(
    part: &IdedExpr,
    left: &IdedExpr,
    right: &IdedExpr,
    scope: &mut Scope,
) -> Result<ReferenceRule, Refusal> {
    match (said(left, scope)?, said(right, scope)?) {
        (Said::Part(looked_at), Said::Text(text)) | (Said::Text(text), Said::Part(looked_at)) => {
            Ok(ReferenceRule::Text(looked_at, Test::Equals(text)))
        }
        (Said::Rule(rule), Said::Rule(ReferenceRule::Constant(value)))
        | (Said::Rule(ReferenceRule::Constant(value)), Said::Rule(rule)) => Ok(if value {
            rule
        } else {
            ReferenceRule::Not(Box::new(rule))
        }),
        _ => Err(not_supported(part)),
    }
}

pub(super) fn test(part: &IdedExpr, function: &str, argument: String) -> Result<Test, Refusal> {
    match function {
        "startsWith" => Ok(Test::StartsWith(argument)),
        "endsWith" => Ok(Test::EndsWith(argument)),
        "contains" => Ok(Test::Contains(argument)),
        "matches" => match Matcher::search(&argument) {
            Ok(Matcher::Search { expression, .. }) => Ok(Test::Matches(expression)),
            Ok(_) => Err(not_supported(part)),
            Err(error) => Err(Refusal::new(
                part,
                describe(&error),
                "write a regular expression",
            )),
        },
        _ => Err(not_supported(part)),
    }
}

/// A loop over texts that are written out.
fn loop_over(
    part: &IdedExpr,
    comprehension: &ComprehensionExpr,
    scope: &mut Scope,
) -> Result<Said, Refusal> {
    let Said::Texts(texts) = said(&comprehension.iter_range, scope)? else {
        return Err(not_supported(part));
    };
    let outside = scope.len();
    let mut result = said(&comprehension.accu_init, scope)?;
    for text in texts {
        scope.push((comprehension.accu_var.clone(), result));
        scope.push((comprehension.iter_var.clone(), Said::Text(text)));
        let step = said(&comprehension.loop_step, scope);
        scope.truncate(outside);
        result = step?;
    }
    scope.push((comprehension.accu_var.clone(), result));
    let result = said(&comprehension.result, scope);
    scope.truncate(outside);
    result
}
