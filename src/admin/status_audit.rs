//! What the status page shows of the audit log.

use serde::Serialize;

use super::millis;
use crate::admin::console::{durability_text, state_word};
use crate::audit::{Figures, State};
use crate::config;

#[derive(Debug, Serialize)]
pub(super) struct AuditLog {
    state: &'static str,
    /// Why it cannot be written.
    error: Option<String>,
    durability: &'static str,
    appended: u64,
    synced: u64,
    covered: u64,
    queue_bytes: u64,
    queue_bytes_max: u64,
    sync_ms_p50: Option<f64>,
    sync_ms_p99: Option<f64>,
    records_per_write: Option<f64>,
    segments: u64,
    unshipped: u64,
    checkpoint: Option<Checkpoint>,
    refused: u64,
    lost: u64,
    places: Vec<Place>,
}

#[derive(Debug, Serialize)]
struct Checkpoint {
    size: u64,
    root: String,
    time: String,
    key: String,
}

/// Somewhere that the log or its checkpoints are sent.
#[derive(Debug, Serialize)]
struct Place {
    what: &'static str,
    target: String,
    state: String,
    error: Option<String>,
}

impl AuditLog {
    pub fn new(figures: &Figures, config: &config::Audit) -> Self {
        let error = match &figures.state {
            State::Failed { error, .. } => Some(error.to_string()),
            State::Writing | State::Full => None,
        };
        let writes = figures.groups.iter().sum::<u64>();
        let copies = figures.copies.iter().map(|copy| Place {
            what: "checkpoints",
            target: copy.target.to_string(),
            state: format!("{} sent, {} missed", copy.sent, copy.missed),
            error: copy.error.as_ref().map(ToString::to_string),
        });
        let sinks = figures.sinks.iter().map(|sink| Place {
            what: "records",
            target: sink.target.to_string(),
            state: match (sink.connected, figures.synced.saturating_sub(sink.acknowledged)) {
                (true, behind) => format!("connected, {behind} behind"),
                (false, behind) => format!("not connected, {behind} behind"),
            },
            error: sink.error.as_ref().map(ToString::to_string),
        });
        Self {
            state: state_word(&figures.state),
            error,
            durability: durability_text(config.durability),
            appended: figures.appended,
            synced: figures.synced,
            covered: figures.covered,
            queue_bytes: figures.queue_bytes,
            queue_bytes_max: figures.queue_bytes_max,
            sync_ms_p50: figures.sync_times.quantile(0.5).map(millis),
            sync_ms_p99: figures.sync_times.quantile(0.99).map(millis),
            records_per_write: (writes > 0).then(|| figures.grouped as f64 / writes as f64),
            segments: figures.segments,
            unshipped: figures.unshipped,
            checkpoint: figures.signed.as_ref().map(|signed| Checkpoint {
                size: signed.size,
                root: signed.root.to_string(),
                time: signed.time.to_string(),
                key: signed.key.to_string(),
            }),
            refused: figures.refused,
            lost: figures.lost,
            places: copies.chain(sinks).collect(),
        }
    }
}
