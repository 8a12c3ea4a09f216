//! What an expression means for the one image of a pull.
//!
//! An expression is evaluated with what it speaks of left open: the image, who vouches for it, what was signed. What
//! comes out is a [`Formula`] over those. Every list of images stands for any number of images of which each is treated
//! like the one that is pulled.

use std::collections::{BTreeMap, BTreeSet};

use cel::IdedExpr;
use cel::common::ast::{EntryExpr, Expr, IdedEntryExpr, MapEntryExpr, MapExpr, SelectExpr};

use super::about::{About, Binding, Item, Scope};
use super::calls;
use super::expression::{Expression, Refusal};
use super::names::{self, Assumption};
use super::term::{Computed, Formula, Names, Term, TwoAttestations, Vouching};
use super::values::{computed, constant, truth, two_attestations};
use crate::policy::kyverno::reference::ReferenceRule;

/// What the document defines by name.
#[derive(Debug)]
pub(super) struct Definitions {
    pub(super) attestors: Vec<NamedAttestor>,
    pub(super) attestations: Vec<NamedAttestation>,
    /// In the order of the document: each may use those before it.
    pub(super) variables: Vec<(String, Expression)>,
    /// The lists of images.
    pub(super) images: BTreeSet<String>,
}

/// What an expression has to know of an attestor.
#[derive(Debug)]
pub(super) struct NamedAttestor {
    pub(super) name: String,
    /// Whether annotations are demanded of what it signs.
    pub(super) has_annotations: bool,
    /// True if it is one of Notary, whose signatures are not verified.
    pub(super) is_of_notary: bool,
}

/// What an expression has to know of an attestation.
#[derive(Debug)]
pub(super) struct NamedAttestation {
    pub(super) name: String,
    /// The predicate type.
    pub(super) predicate_type: String,
    /// Whether that is written as one of cosign's short names.
    pub(super) short: bool,
    /// True if it is an artifact that is attached without a statement.
    pub(super) is_referrer: bool,
}

/// The meaning of a policy's expressions, one after the other.
#[derive(Debug)]
pub(super) struct Meaning<'a> {
    pub(super) definitions: &'a Definitions,
    /// The lists of images that were looked at.
    pub(super) used_images: BTreeSet<String>,
    /// True if different things are demanded of different lists.
    pub(super) lists_differ: bool,
    /// What the part that is being evaluated is about, as far as it has been evaluated.
    pub(super) about: About,
    /// The variables that were used.
    pub(super) used_variables: BTreeSet<usize>,
    /// Who may vouch for an attestation, wherever that is asked.
    pub(super) vouching: BTreeMap<usize, BTreeSet<usize>>,
    /// The attestations for which somebody has vouched where the evaluation is.
    pub(super) established: BTreeSet<usize>,
    /// Parts of what was signed that no statement has.
    pub(super) absent: BTreeSet<String>,
    /// The attestors that are asked for and cannot vouch.
    pub(super) left_out: BTreeSet<usize>,
    /// What is assumed about the name of the image.
    assumed: Vec<Assumption>,
    /// What was asked about the name of the image and is not assumed.
    pub(super) undecided: Option<ReferenceRule>,
    /// True if anything was asked about the name of the image.
    pub(super) asked_names: bool,
    /// How many variables may be used: those before the one that is evaluated.
    variables_max: usize,
    pub(super) steps: usize,
    depth: usize,
}

/// The most steps that the expressions of a policy may take to evaluate, and the most parts of a condition.
const STEPS_MAX: usize = 20_000;

/// The fields of an in-toto statement.
const STATEMENT_FIELDS: [&str; 4] = ["_type", "predicateType", "subject", "predicate"];

const WRITE_WHAT_A_PULL_KNOWS: &str = "a pull knows the image, who signed it and its attestations: keep in the policy what is about \
     those, and the rest in the cluster";

impl Definitions {
    /// The first attestation with the type of this one: what was verified of one was verified of both.
    pub(super) fn first_of_type(&self, attestation: usize) -> usize {
        let Some(named) = self.attestations.get(attestation) else {
            return attestation;
        };
        let mut all = self.attestations.iter();
        all.position(|it| it.predicate_type == named.predicate_type)
            .unwrap_or(attestation)
    }
}

impl<'a> Meaning<'a> {
    pub(super) fn new(definitions: &'a Definitions, assumed: Vec<Assumption>) -> Self {
        Self {
            definitions,
            assumed,
            used_images: BTreeSet::new(),
            lists_differ: false,
            about: About::default(),
            used_variables: BTreeSet::new(),
            vouching: BTreeMap::new(),
            established: BTreeSet::new(),
            absent: BTreeSet::new(),
            left_out: BTreeSet::new(),
            undecided: None,
            asked_names: false,
            variables_max: definitions.variables.len(),
            steps: 0,
            depth: 0,
        }
    }

    /// What one validation demands. What it demands is established for those that follow.
    pub(super) fn demand(&mut self, expression: &Expression) -> Result<Formula, Refusal> {
        let root = &expression.root;
        (self.asked_names, self.about) = (false, About::default());
        let term = self.evaluate(root, &mut Vec::new())?;
        let formula = truth(root, term)?;
        self.established.extend(formula.established());
        Ok(formula)
    }

    /// Returns true if signatures of the attestor can be verified.
    pub(super) fn can_vouch(&self, vouching: Vouching) -> bool {
        let attestor = self.definitions.attestors.get(vouching.attestor());
        attestor.is_some_and(|it| !it.is_of_notary)
    }

    /// The answer to a question about the name of the image. Without one, the evaluation ends, and is made again for
    /// each of the two.
    pub(super) fn decide(&mut self, part: &IdedExpr, rule: ReferenceRule) -> Result<Term, Refusal> {
        self.asked_names = true;
        if let Some(value) = names::follows(&self.assumed, &rule) {
            return Ok(Term::Truth(Formula::Constant(value)));
        }
        self.undecided = Some(rule);
        Err(Refusal::new(
            part,
            "too many different questions about the name of the image",
            "make several policies of it, each with its own `matchImageReferences`",
        ))
    }

    /// What a part of the expression stands for. What it is about is added to what the whole is about.
    pub(super) fn evaluate(&mut self, part: &IdedExpr, scope: &mut Scope) -> Result<Term, Refusal> {
        let item = self.evaluate_apart(part, scope)?;
        self.about.absorb(item.about);
        Ok(item.term)
    }

    /// What a part stands for, and what it is about, which is not yet added to what the whole is about.
    pub(super) fn evaluate_apart(
        &mut self,
        part: &IdedExpr,
        scope: &mut Scope,
    ) -> Result<Item, Refusal> {
        self.step(part)?;
        self.depth += 1;
        let outside = std::mem::take(&mut self.about);
        let term = self.evaluate_within(part, scope);
        let about = std::mem::replace(&mut self.about, outside);
        self.depth -= 1;
        Ok(Item { term: term?, about })
    }

    fn evaluate_within(&mut self, part: &IdedExpr, scope: &mut Scope) -> Result<Term, Refusal> {
        match &part.expr {
            Expr::Literal(literal) => Ok(Term::Value(Computed::literal(literal.clone()))),
            Expr::Ident(name) => self.name(part, name, scope),
            Expr::Select(select) => self.select(part, select, scope),
            Expr::Call(call) => calls::evaluate(self, part, call, scope),
            Expr::List(list) if list.optional_indices.is_empty() => {
                let items = list.elements.iter();
                let items = items.map(|item| {
                    let item = self.evaluate_apart(item, scope)?;
                    self.about.absorb(item.about.clone());
                    Ok(item)
                });
                items.collect::<Result<_, _>>().map(Term::List)
            }
            Expr::Map(map) => self.map(part, map, scope),
            Expr::Comprehension(comprehension) => self.comprehension(part, comprehension, scope),
            Expr::Unspecified | Expr::List(_) | Expr::Struct(_) => Err(Refusal::new(
                part,
                "this form of expression is not supported",
                WRITE_WHAT_A_PULL_KNOWS,
            )),
        }
    }

    fn step(&mut self, part: &IdedExpr) -> Result<(), Refusal> {
        self.steps += 1;
        if self.steps > STEPS_MAX || self.depth >= Computed::DEPTH_MAX {
            return Err(Refusal::new(
                part,
                "the expressions are too large together, or too deep",
                "write fewer, or make several policies of them: all that cover an image must be satisfied",
            ));
        }
        Ok(())
    }

    fn name(&mut self, part: &IdedExpr, name: &str, scope: &Scope) -> Result<Term, Refusal> {
        if let Some(Binding { item, .. }) = scope.iter().rev().find(|it| it.name == name) {
            self.about.absorb(item.about.clone());
            return Ok(item.term.clone());
        }
        match name {
            "images" => Ok(Term::Names(Names::Images)),
            "attestors" => Ok(Term::Names(Names::Attestors)),
            "attestations" => Ok(Term::Names(Names::Attestations)),
            "variables" => Ok(Term::Names(Names::Variables)),
            _ => Err(Refusal::new(
                part,
                format!("`{name}` is not known at a pull"),
                WRITE_WHAT_A_PULL_KNOWS,
            )),
        }
    }

    fn select(
        &mut self,
        part: &IdedExpr,
        select: &SelectExpr,
        scope: &mut Scope,
    ) -> Result<Term, Refusal> {
        let operand = self.evaluate(&select.operand, scope)?;
        if let Term::Names(names) = operand {
            let member = self.member(part, names, &select.field)?;
            // Whatever has a meaning here is there.
            return Ok(if select.test { constant(true) } else { member });
        }
        let value = computed(part, operand)?;
        let is_statement = value.size == 1 && value.attested.is_some();
        if is_statement
            && matches!(&value.expression.expr, Expr::Ident(name) if name == super::term::STATEMENT)
            && !STATEMENT_FIELDS.contains(&select.field.as_str())
        {
            self.absent.insert(select.field.clone());
        }
        let made = Computed::of(vec![value], |mut operands| {
            Expr::Select(SelectExpr {
                operand: Box::new(operands.pop().unwrap_or_default()),
                field: select.field.clone(),
                test: select.test,
            })
        });
        self.bounded(part, made)
    }

    /// What a name under `images`, `attestors`, `attestations` or `variables` stands for.
    pub(super) fn member(
        &mut self,
        part: &IdedExpr,
        names: Names,
        name: &str,
    ) -> Result<Term, Refusal> {
        let definitions = self.definitions;
        let (found, kind, known): (Option<Term>, _, Vec<&str>) = match names {
            Names::Images => {
                let found = definitions.images.contains(name);
                if found {
                    self.used_images.insert(name.to_owned());
                    self.about.add_list(name);
                }
                let known = definitions.images.iter().map(String::as_str);
                let term = found.then(|| Term::Several(vec![Term::Image]));
                (term, "images", known.collect())
            }
            Names::Attestors => {
                let known = definitions.attestors.iter().map(|it| it.name.as_str());
                let found = known.clone().position(|it| it == name);
                (found.map(Term::Attestor), "attestors", known.collect())
            }
            Names::Attestations => {
                let known = definitions.attestations.iter().map(|it| it.name.as_str());
                let found = known.clone().position(|it| it == name);
                let term = found.map(Term::Attestation);
                (term, "attestations", known.collect())
            }
            Names::Variables => {
                let known = definitions.variables.iter().take(self.variables_max);
                let found = known.clone().position(|(it, _)| it == name);
                let term = found.map(|index| self.variable(index)).transpose()?;
                (
                    term,
                    "variables",
                    known.map(|(it, _)| it.as_str()).collect(),
                )
            }
        };
        found.ok_or_else(|| {
            let known = if known.is_empty() {
                "none is".to_owned()
            } else {
                known.join(", ")
            };
            Refusal::new(
                part,
                format!("no `{name}` is defined under `{kind}`"),
                format!("defined before this: {known}"),
            )
        })
    }

    /// A variable is evaluated where it is used, and sees nothing of what is around that place.
    fn variable(&mut self, index: usize) -> Result<Term, Refusal> {
        let definitions = self.definitions;
        let Some((name, expression)) = definitions.variables.get(index) else {
            return Ok(constant(false));
        };
        self.used_variables.insert(index);
        let variables_max = std::mem::replace(&mut self.variables_max, index);
        let term = self.evaluate(&expression.root, &mut Vec::new());
        self.variables_max = variables_max;
        term.map_err(|refusal| refusal.within(expression, &format!("variables.{name}")))
    }

    fn map(&mut self, part: &IdedExpr, map: &MapExpr, scope: &mut Scope) -> Result<Term, Refusal> {
        let mut parts = Vec::new();
        for entry in &map.entries {
            let EntryExpr::MapEntry(entry) = &entry.expr else {
                return Err(Refusal::new(part, "not a map", WRITE_WHAT_A_PULL_KNOWS));
            };
            if entry.optional {
                let message = "optional entries are not supported";
                return Err(Refusal::new(part, message, WRITE_WHAT_A_PULL_KNOWS));
            }
            for side in [&entry.key, &entry.value] {
                let term = self.evaluate(side, scope)?;
                parts.push(computed(side, term)?);
            }
        }
        let made = Computed::of(parts, |parts| {
            let mut parts = parts.into_iter();
            let mut entries = Vec::new();
            while let (Some(key), Some(value)) = (parts.next(), parts.next()) {
                entries.push(IdedEntryExpr {
                    id: 0,
                    expr: EntryExpr::MapEntry(MapEntryExpr {
                        key,
                        value,
                        optional: false,
                    }),
                });
            }
            Expr::Map(MapExpr { entries })
        });
        self.bounded(part, made)
    }

    /// What was put together, if that is possible and not too large.
    pub(super) fn bounded(
        &mut self,
        part: &IdedExpr,
        made: Result<Computed, TwoAttestations>,
    ) -> Result<Term, Refusal> {
        match made {
            Ok(computed) if computed.size <= STEPS_MAX && computed.depth <= Computed::DEPTH_MAX => {
                Ok(Term::Value(computed))
            }
            Ok(_) => Err(Refusal::new(
                part,
                "the expression is too large or too deep",
                "write a smaller one; a value is compared with many by `in`",
            )),
            Err(TwoAttestations) => Err(two_attestations(part)),
        }
    }
}
