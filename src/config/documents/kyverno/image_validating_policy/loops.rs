//! `all`, `exists`, `map`, `filter` and what else loops.

use cel::IdedExpr;
use cel::common::ast::{ComprehensionExpr, Expr};

use super::about::{About, Binding, Item, Scope};
use super::calls::one_list_or_another;
use super::expression::Refusal;
use super::meaning::Meaning;
use super::term::{Computed, Term};
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
        let range = self.evaluate_apart(&comprehension.iter_range, scope)?;
        let is_over_images = matches!(range.term, Term::Several(_));
        let is_filtered = matches!(&range.term, Term::Several(items) if items.is_empty());
        let is_decided = range.about.by_names;
        let result = self.loop_over(part, comprehension, range, scope)?;
        self.about.joins_names |= self.about.by_names;
        self.about.by_names |= is_decided;
        let by_names = is_over_images && (self.asked_names || self.about.by_names || is_filtered);
        self.asked_names |= asked_outside;
        self.about.by_names |= by_names;
        if by_names {
            // Each image of a Pod is looked at by itself, whatever its name is.
            let is_of_each = matches!(&comprehension.result.expr, Expr::Ident(_));
            return is_of_each
                .then_some(result)
                .ok_or_else(|| about_others(part));
        }
        // Such a loop asks if there is such an image: of the others of a Pod nothing is known.
        if is_over_images && result.is_constant() {
            return Err(about_others(part));
        }
        Ok(result)
    }

    fn loop_over(
        &mut self,
        part: &IdedExpr,
        comprehension: &ComprehensionExpr,
        range: Item,
        scope: &mut Scope,
    ) -> Result<Term, Refusal> {
        let Item { term, about } = range;
        if let Term::List(items) = term {
            return self.unrolled(comprehension, items, scope);
        }
        let about = about.of_each();
        let result = if let Term::Several(terms) = term {
            let items = terms.into_iter().map(|term| Item {
                term,
                about: about.clone(),
            });
            let result = self.unrolled(comprehension, items.collect(), scope)?;
            if let Term::List(items) = result {
                Term::Several(items.into_iter().map(|item| item.term).collect())
            } else {
                result
            }
        } else if let Some(signed) = term.value().filter(|it| it.attested.is_some()) {
            self.loop_over_signed(part, comprehension, signed, &about, scope)?
        } else {
            return Err(Refusal::new(
                part,
                "there is nothing here to loop over",
                "loop over images.containers, a list that is written out, or a list in what was signed",
            ));
        };
        self.about.absorb(about);
        // A loop over what was signed may compute anything.
        if matches!(result, Term::Value(_)) && self.about.lists_differ {
            return Err(one_list_or_another(part));
        }
        Ok(result)
    }

    /// One round after the other. What would end the loop early changes nothing about its result.
    fn unrolled(
        &mut self,
        comprehension: &ComprehensionExpr,
        items: Vec<Item>,
        scope: &mut Scope,
    ) -> Result<Term, Refusal> {
        let bind = |name: &str, item: Item| Binding {
            name: name.to_owned(),
            item,
        };
        let mut result = self.evaluate_apart(&comprehension.accu_init, scope)?;
        let outside = scope.len();
        for item in items {
            scope.push(bind(&comprehension.accu_var, result));
            scope.push(bind(&comprehension.iter_var, item));
            let step = self.evaluate_apart(&comprehension.loop_step, scope);
            scope.truncate(outside);
            result = step?;
        }
        scope.push(bind(&comprehension.accu_var, result));
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
        about: &About,
        scope: &mut Scope,
    ) -> Result<Term, Refusal> {
        // Names that no author can write and no other loop has, so that what is put in from outside keeps its meaning.
        let item = format!("@item_{}", self.steps);
        let result = format!("@result_{}", self.steps);
        let bind = |written: &str, name: &str| Binding {
            name: written.to_owned(),
            item: Item {
                term: Term::Value(Computed::named(name, range.attested)),
                about: about.clone(),
            },
        };
        let init = self.evaluate(&comprehension.accu_init, scope)?;
        let mut parts = vec![range.clone(), computed(&comprehension.accu_init, init)?];
        let outside = scope.len();
        scope.push(bind(&comprehension.accu_var, &result));
        scope.push(bind(&comprehension.iter_var, &item));
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
