//! A record within its bounds, as it enters the log.

use std::collections::VecDeque;
use std::io;
use std::ops::Deref;

use serde::Serialize;

use super::{AttemptOutcome, AttemptReport, CertificateReport, Client, Record};
use crate::foreign::{self, Message};

/// Bytes of a record in JSON.
pub const RECORD_BYTES_MAX: usize = 16 * 1024;

/// A record whose foreign text is clean and short, and that takes at most [`RECORD_BYTES_MAX`] bytes in JSON. The log,
/// its lines and the admin API take nothing else.
#[derive(Debug, Clone)]
pub struct Entry(Record);

impl Entry {
    /// Brings the record within its bounds.
    ///
    /// Of too many attempts, those that verified stay, then the first and the last ones that failed. Unproven claims of
    /// certificates go before attempts do. [`Record::left_out`] counts what is missing.
    #[must_use]
    pub fn new(mut record: Record) -> Self {
        clip_texts(&mut record);
        if bytes(&record) > RECORD_BYTES_MAX {
            forget_claims(&mut record.attempts);
        }
        if bytes(&record) > RECORD_BYTES_MAX {
            forget_policies(&mut record);
            choose_attempts(&mut record);
        }
        Self(record)
    }

    /// Returns the record.
    #[must_use]
    pub fn into_record(self) -> Record {
        self.0
    }
}

impl Deref for Entry {
    type Target = Record;

    fn deref(&self) -> &Record {
        &self.0
    }
}

/// Bytes that policies take at most where a record is too long, so that attempts have room.
const POLICIES_BYTES_MAX: usize = 4 * 1024;

fn clip_texts(record: &mut Record) {
    clip(&mut record.repository);
    clip(&mut record.reference);
    clip_in(&mut record.media_type);
    for source in &mut record.sources {
        clip_in(&mut source.reason);
    }
    if let Some(denial) = &mut record.denial {
        let message = std::mem::take(&mut denial.message);
        denial.message = Message::from(message).into();
    }
    record.attempts.iter_mut().for_each(clip_attempt);
    clip_client(&mut record.client);
    for refused in record.clients.iter_mut().flatten() {
        clip_client(&mut refused.client);
    }
}

fn clip_attempt(attempt: &mut AttemptReport) {
    clip_in(&mut attempt.reason);
    clip_in(&mut attempt.predicate_type);
    if let Some(certificate) = &mut attempt.certificate {
        let CertificateReport {
            identity,
            oidc_issuer,
            serial,
            not_before: _,
            not_after: _,
            extensions,
        } = certificate;
        clip(identity);
        clip(oidc_issuer);
        clip(serial);
        *extensions = std::mem::take(extensions)
            .into_iter()
            .map(|(name, value)| (foreign::clip(&name), foreign::clip(&value)))
            .collect();
    }
}

fn clip_client(client: &mut Client) {
    clip_in(&mut client.address);
    clip_in(&mut client.user_agent);
    clip_in(&mut client.identity);
}

fn clip_in(text: &mut Option<String>) {
    text.iter_mut().for_each(clip);
}

fn clip(text: &mut String) {
    *text = foreign::clip(text);
}

/// Forgets the extensions of certificates of attempts that failed: nothing proves them.
fn forget_claims(attempts: &mut [AttemptReport]) {
    let failed = attempts
        .iter_mut()
        .filter(|it| it.outcome == AttemptOutcome::Failed);
    for certificate in failed.filter_map(|it| it.certificate.as_mut()) {
        certificate.extensions.clear();
    }
}

/// Keeps as many policies as fit into [`POLICIES_BYTES_MAX`], those that are not satisfied first.
fn forget_policies(record: &mut Record) {
    let before = record.policies.len();
    record.policies.sort_by_key(|policy| policy.satisfied);
    let mut left = POLICIES_BYTES_MAX;
    record.policies.retain(|policy| take(&mut left, policy));
    record.left_out += count(before - record.policies.len());
}

/// Keeps as many attempts as fit into the record, in their order.
fn choose_attempts(record: &mut Record) {
    let attempts = std::mem::take(&mut record.attempts);
    let (total, mut left) = (
        attempts.len(),
        RECORD_BYTES_MAX.saturating_sub(bytes(record)),
    );
    let numbered = attempts.into_iter().enumerate();
    let (verified, failed): (VecDeque<_>, VecDeque<_>) =
        numbered.partition(|(_, it)| it.outcome == AttemptOutcome::Verified);
    let chosen = verified.into_iter().chain(ends_first(failed));
    let mut kept: Vec<_> = chosen.filter(|(_, it)| take(&mut left, it)).collect();
    kept.sort_by_key(|(number, _)| *number);
    record.left_out += count(total - kept.len());
    record.attempts = kept.into_iter().map(|(_, attempt)| attempt).collect();
}

/// Returns the first, the last, the second, the last but one, and so on.
fn ends_first<T>(mut items: VecDeque<T>) -> impl Iterator<Item = T> {
    let mut from_front = false;
    std::iter::from_fn(move || {
        from_front = !from_front;
        if from_front {
            items.pop_front()
        } else {
            items.pop_back()
        }
    })
}

/// Takes the bytes of an item and its comma out of `left` if they fit.
fn take(left: &mut usize, item: &impl Serialize) -> bool {
    let rest = left.checked_sub(bytes(item) + 1);
    *left = rest.unwrap_or(*left);
    rest.is_some()
}

fn count(items: usize) -> u64 {
    u64::try_from(items).unwrap_or(u64::MAX)
}

/// Returns the length in JSON. What cannot be written counts as nothing, and the log reports it.
fn bytes(item: &impl Serialize) -> usize {
    let mut length = Length(0);
    match serde_json::to_writer(&mut length, item) {
        Ok(()) => length.0,
        Err(_unwritable) => 0,
    }
}

struct Length(usize);

impl io::Write for Length {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
