//! `all`, `exists`, `map`, `filter` and what else loops.

use cel::IdedExpr;
use cel::common::ast::{ComprehensionExpr, Expr};

use super::expression::Refusal;
use super::meaning::{Meaning, Scope};
use super::term::{Computed, Formula, Term};
use super::values::computed;

impl Meaning<'_> {
    pub(super) fn comprehension(
        &mut self,
        part: &IdedExpr,
        comprehension: &ComprehensionExpr,
        scope: &mut Scope,
    ) -> Result<Term, Refusal> {
        if comprehension.iter_var2.is_some() {
            let message = "a loop over two variables is not supported";
            return Err(Refusal::new(part, message, "loop over one"));
        }
        let asked_outside = std::mem::take(&mut self.asked_names);
        let decided_outside = std::mem::take(&mut self.decided_by_names);
        let range = self.evaluate(&comprehension.iter_range, scope)?;
        let is_over_images = matches!(range, Term::Several(_));
        let is_filtered = matches!(&range, Term::Several(items) if items.is_empty());
        let result = self.loop_over(part, comprehension, range, scope)?;
        let by_names = is_over_images && (self.asked_names || self.decided_by_names || is_filtered);
        self.asked_names |= asked_outside;
        self.decided_by_names |= decided_outside || by_names;
        if by_names {
            // Each image of a Pod is looked at by itself, whatever its name is.
            let is_of_each = matches!(&comprehension.result.expr, Expr::Ident(_));
            return is_of_each
                .then_some(result)
                .ok_or_else(|| about_others(part));
        }
        let is_constant = match &result {
            Term::Truth(formula) => matches!(formula, Formula::Constant(_)),
            Term::Value(value) => value.attested.is_none(),
            Term::Image
            | Term::Name(_)
            | Term::ParsedName
            | Term::Attestor(_)
            | Term::Attestation(_)
            | Term::Names(_)
            | Term::List(_)
            | Term::Several(_)
            | Term::Count(_) => false,
        };
        // Whether there is such an image: of the others of a Pod nothing is known.
        if is_over_images && is_constant {
            return Err(about_others(part));
        }
        Ok(result)
    }

    fn loop_over(
        &mut self,
        part: &IdedExpr,
        comprehension: &ComprehensionExpr,
        range: Term,
        scope: &mut Scope,
    ) -> Result<Term, Refusal> {
        match range {
            Term::List(items) => self.unrolled(comprehension, items, scope),
            Term::Several(items) => {
                let result = self.unrolled(comprehension, items, scope)?;
                if let Term::List(items) = result {
                    return Ok(Term::Several(items));
                }
                Ok(result)
            }
            Term::Value(range) if range.attested.is_some() => {
                self.loop_over_signed(part, comprehension, &range, scope)
            }
            Term::Value(_)
            | Term::Image
            | Term::Name(_)
            | Term::ParsedName
            | Term::Attestor(_)
            | Term::Attestation(_)
            | Term::Names(_)
            | Term::Count(_)
            | Term::Truth(_) => Err(Refusal::new(
                part,
                "there is nothing here to loop over",
                "loop over images.containers, a list that is written out, or a list in what was signed",
            )),
        }
    }

    /// One round after the other. What would end the loop early changes nothing about its result.
    fn unrolled(
        &mut self,
        comprehension: &ComprehensionExpr,
        items: Vec<Term>,
        scope: &mut Scope,
    ) -> Result<Term, Refusal> {
        let mut result = self.evaluate(&comprehension.accu_init, scope)?;
        let outside = scope.len();
        for item in items {
            scope.push((comprehension.accu_var.clone(), result));
            scope.push((comprehension.iter_var.clone(), item));
            let step = self.evaluate(&comprehension.loop_step, scope);
            scope.truncate(outside);
            result = step?;
        }
        scope.push((comprehension.accu_var.clone(), result));
        let result = self.evaluate(&comprehension.result, scope);
        scope.truncate(outside);
        result
    }

    /// A loop that is made when the attestation is there.
    fn loop_over_signed(
        &mut self,
        part: &IdedExpr,
        comprehension: &ComprehensionExpr,
        range: &Computed,
        scope: &mut Scope,
    ) -> Result<Term, Refusal> {
        // Names that no author can write and no other loop has, so that what is put in from outside keeps its meaning.
        let item = format!("@item_{}", self.steps);
        let result = format!("@result_{}", self.steps);
        let bound = |name: &str| Term::Value(Computed::named(name, range.attested));
        let init = self.evaluate(&comprehension.accu_init, scope)?;
        let mut parts = vec![range.clone(), computed(&comprehension.accu_init, init)?];
        let outside = scope.len();
        scope.push((comprehension.accu_var.clone(), bound(&result)));
        scope.push((comprehension.iter_var.clone(), bound(&item)));
        let inside = [
            &comprehension.loop_cond,
            &comprehension.loop_step,
            &comprehension.result,
        ];
        let inside: Result<Vec<_>, Refusal> = inside
            .into_iter()
            .map(|it| self.evaluate(it, scope).and_then(|term| computed(it, term)))
            .collect();
        scope.truncate(outside);
        parts.extend(inside?);
        let made = Computed::of(parts, |parts| {
            let mut parts = parts.into_iter();
            let mut next = || parts.next().unwrap_or_default();
            Expr::Comprehension(Box::new(ComprehensionExpr {
                iter_range: next(),
                iter_var: item,
                iter_var2: None,
                accu_var: result,
                accu_init: next(),
                loop_cond: next(),
                loop_step: next(),
                result: next(),
            }))
        });
        self.bounded(part, made)
    }
}

pub(super) fn about_others(part: &IdedExpr) -> Refusal {
    Refusal::new(
        part,
        "which images a Pod has, and how many, is not known at a pull",
        "demand of each image who must have signed it",
    )
}
