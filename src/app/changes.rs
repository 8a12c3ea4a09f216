//! Watches what is in force, and makes a record of every change: one line and one durable row.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use ulid::Ulid;

use crate::clock;
use crate::decision_log::{Change, ChangeKind, JsonLines};
use crate::in_force::InForce;
use crate::keys::KeyStatus;
use crate::state::{Batch, State};
use crate::trust::RootStatus;

/// How soon a change that could not be written is tried again.
const RETRY_DELAY: Duration = Duration::from_secs(5);

/// What changes are noticed in, and where they are written.
#[derive(Debug)]
pub(super) struct Watch {
    pub(super) in_force: InForce,
    pub(super) state: State,
    pub(super) lines: JsonLines,
    pub(super) replica: String,
}

/// Everything that decisions are made by, as it is told.
type Picture = BTreeMap<(ChangeKind, Option<String>), Value>;

impl Watch {
    /// Records until `stop`. What differs from the last record of an earlier run has changed at the start.
    pub(super) async fn run(self, stop: CancellationToken) {
        let mut known = None;
        let watching = async {
            loop {
                let mut changes = self.in_force.changes();
                let roots = self.in_force.configured().roots;
                let mut roots = roots.map(|roots| roots.changes());
                match self.record(&mut known).await {
                    Ok(()) => {
                        tokio::select! {
                            _ = changes.changed() => {}
                            () = changed(&mut roots) => {}
                        }
                    }
                    Err(error) => {
                        tracing::error!(
                            error = &error as &dyn std::error::Error,
                            "Could not record a change of what is in force"
                        );
                        tokio::time::sleep(RETRY_DELAY).await;
                    }
                }
            }
        };
        stop.run_until_cancelled(watching).await;
    }

    /// Records what is not as it is `known` to be.
    async fn record(&self, known: &mut Option<Picture>) -> Result<(), crate::state::Error> {
        let before = match known.take() {
            Some(before) => before,
            None => self.last_recorded().await?,
        };
        let now = self.picture();
        let changes = self.differences(&before, &now);
        if !changes.is_empty() {
            let batch = Batch {
                changes: changes.clone(),
                ..Batch::default()
            };
            if let Err(error) = self.state.write(batch).await {
                *known = Some(before);
                return Err(error);
            }
        }
        *known = Some(now);
        for change in &changes {
            self.lines.write_change(change);
        }
        Ok(())
    }

    async fn last_recorded(&self) -> Result<Picture, crate::state::Error> {
        let changes = self.state.last_changes().await?.into_iter();
        Ok(changes
            .filter_map(|change| Some(((change.kind, change.name), change.to?)))
            .collect())
    }

    fn picture(&self) -> Picture {
        let configured = self.in_force.configured();
        let configuration = json!({ "hash": configured.policies.hash });
        let mut picture = Picture::from([((ChangeKind::Configuration, None), configuration)]);
        let roots = configured.roots.map(|roots| roots.status(clock::now()));
        for root in roots.into_iter().flatten() {
            let name = Some(root.name.clone());
            picture.insert((ChangeKind::TrustedRoot, name), root_value(&root));
        }
        let keys = configured.keys.map(|keys| keys.status());
        for key in keys.into_iter().flatten() {
            let name = Some(key.reference.to_string());
            picture.insert((ChangeKind::Key, name), key_value(&key));
        }
        picture
    }

    fn differences(&self, before: &Picture, now: &Picture) -> Vec<Change> {
        let gone = before.keys().filter(|thing| !now.contains_key(*thing));
        let things = now.keys().chain(gone);
        let configuration = self.in_force.policies().hash;
        things
            .filter(|thing| before.get(*thing) != now.get(*thing))
            .map(|thing| Change {
                id: Ulid::generate(),
                time: clock::now(),
                replica: self.replica.clone(),
                kind: thing.0,
                name: thing.1.clone(),
                from: before.get(thing).cloned(),
                to: now.get(thing).cloned(),
                configuration,
            })
            .collect()
    }
}

fn root_value(root: &RootStatus) -> Value {
    json!({
        "digest": root.digest,
        "usable": root.usable,
        "source": root.source,
    })
}

fn key_value(key: &KeyStatus) -> Value {
    let versions: Vec<_> = key
        .versions
        .iter()
        .map(|(version, fingerprint)| json!({ "version": version, "fingerprint": fingerprint }))
        .collect();
    json!({ "usable": !versions.is_empty(), "versions": versions })
}

/// Returns at the next change, or never where nothing changes.
async fn changed(changes: &mut Option<tokio::sync::watch::Receiver<u64>>) {
    if let Some(changes) = changes
        && changes.changed().await.is_ok()
    {
        return;
    }
    std::future::pending().await
}
