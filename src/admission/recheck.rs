//! A decision that is made again at once, because somebody says that the upstream has something new.

use std::sync::Arc;

use super::decision::{Decision, Error};
use super::{Admission, Asked};
use crate::decision_log::Subject;
use crate::manifests::Document;

/// Times a decision is made again because the one that was joined began before somebody asked.
const ATTEMPTS_MAX: usize = 3;

impl Admission {
    /// Forgets the decision about `subject`, looks for its signatures again, and decides. Manifests that may vouch for
    /// the subject and are not admitted are decided about again first. This takes the path of a pull, and admits nothing
    /// that a pull would not admit.
    ///
    /// `document` is given by a caller that just got it from the upstream.
    ///
    /// # Errors
    /// As [`Admission::decide`].
    pub async fn recheck(
        &self,
        subject: &Subject,
        document: Option<Arc<Document>>,
        asked: &Asked,
    ) -> Result<Arc<Decision>, Arc<Error>> {
        for digest in self.hints(subject).await.map_err(Arc::new)? {
            let parent = Subject {
                repository: subject.repository.clone(),
                digest,
            };
            let remembered = self.remembered(&parent, asked.now);
            if remembered.is_some_and(|decision| decision.document().is_some()) {
                continue;
            }
            // The decision about the subject asks for the parent again, and tells what is wrong with it.
            drop(
                self.decide_at_once(&parent, None, &asked.about(&parent))
                    .await,
            );
        }
        self.decide_at_once(subject, document, asked).await
    }

    async fn decide_at_once(
        &self,
        subject: &Subject,
        document: Option<Arc<Document>>,
        asked: &Asked,
    ) -> Result<Arc<Decision>, Arc<Error>> {
        let asked = Asked {
            anew: true,
            ..asked.clone()
        };
        let mut attempt = 1;
        loop {
            self.forget(subject);
            let decision = self.decide(subject, document.clone(), &asked).await?;
            // A decision under way was joined. It may have looked before the signature was there.
            if decision.looked_since(asked.now) || attempt == ATTEMPTS_MAX {
                return Ok(decision);
            }
            attempt += 1;
        }
    }

    /// Forgets the decision about `subject`. The pulls that it answered stay counted.
    fn forget(&self, subject: &Subject) {
        if let Some(decision) = self.inner.remembered.remove(subject) {
            self.flush_reuse(&decision);
        }
    }
}
