//! The rows of SHOW AUDIT: the log's figures, one a line. Pure.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::settings;
use super::show::moment;
use super::tables::{Cell, Row};
use crate::audit::{CopyFigures, Figures, SinkFigures, State};
use crate::config::Audit;

/// Nothing but its state where there is no log.
pub(super) fn rows(log: Option<(&Figures, &Audit)>) -> Vec<Row> {
    let Some((figures, config)) = log else { return vec![row("state", Cell::word("off"))] };
    let micros = |took: Option<Duration>| took.map_or(Cell::Null, |took| text(took.as_micros()));
    let (since, error) = match &figures.state {
        State::Failed { since, error } => (Cell::text(moment(unix_micros(*since))), Cell::text(&**error)),
        State::Writing | State::Full => (Cell::Null, Cell::Null),
    };
    let signed = figures.signed.as_ref();
    let of_signed = |value: fn(&crate::audit::Signed) -> String| signed.map_or(Cell::Null, |it| Cell::text(value(it)));
    let mut rows = vec![
        row("state", Cell::word(state_word(&figures.state))),
        row("failing_since", since),
        row("error", error),
        row("directory", Cell::text(config.directory.display().to_string())),
        row("durability", Cell::word(settings::durability_text(config.durability))),
        row("on_failure", Cell::word(settings::failure_text(config.on_failure))),
        row("records_appended", text(figures.appended)),
        row("records_written", text(figures.written)),
        row("records_synced", text(figures.synced)),
        row("records_in_checkpoint", text(figures.covered)),
        row("queue_bytes", text(figures.queue_bytes)),
        row("queue_bytes_max", text(figures.queue_bytes_max)),
        row("syncs", text(figures.syncs)),
        row("sync_last_us", text(figures.last_sync.as_micros())),
        row("sync_median_us", micros(figures.sync_times.quantile(0.5))),
        row("sync_p99_us", micros(figures.sync_times.quantile(0.99))),
        row("writes", text(figures.groups.iter().sum::<u64>())),
        row("records_per_write", Cell::text(groups_text(&figures.groups))),
        row("bytes_written", text(figures.bytes)),
        row("segments", text(figures.segments)),
        row("segments_unshipped", text(figures.unshipped)),
        row("checkpoints", text(figures.checkpoints)),
        row("checkpoint_size", of_signed(|it| it.size.to_string())),
        row("checkpoint_root", of_signed(|it| it.root.to_string())),
        row("checkpoint_time", of_signed(|it| it.time.to_string())),
        row("checkpoint_key", of_signed(|it| it.key.to_string())),
        row("failures", text(figures.failures)),
        row("statements_refused", text(figures.refused)),
        row("records_lost", text(figures.lost)),
        row("copies_failed", text(figures.copies_failed)),
    ];
    rows.extend(figures.copies.iter().map(|copy| vec![Cell::text(format!("copy {}", copy.target)), copy_cell(copy)]));
    let sink = |sink: &SinkFigures| vec![Cell::text(format!("sink {}", sink.target)), sink_cell(sink, figures.synced)];
    rows.extend(figures.sinks.iter().map(sink));
    rows
}

fn unix_micros(moment: SystemTime) -> u64 {
    moment.duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}

pub(in crate::admin) fn state_word(state: &State) -> &'static str {
    match state {
        State::Writing => "writing",
        State::Failed { .. } => "failed",
        State::Full => "full",
    }
}

fn row(key: &'static str, value: Cell) -> Row {
    vec![Cell::word(key), value]
}

fn text(number: impl ToString) -> Cell {
    Cell::text(number.to_string())
}

fn copy_cell(copy: &CopyFigures) -> Cell {
    let error = copy.error.as_ref().map(|error| format!(", failing: {error}")).unwrap_or_default();
    Cell::text(format!("{} sent, {} missed{error}", copy.sent, copy.missed))
}

fn sink_cell(sink: &SinkFigures, synced: u64) -> Cell {
    let error = sink.error.as_ref().map(|error| format!(", failing: {error}")).unwrap_or_default();
    let state = if sink.connected { "connected" } else { "not connected" };
    let behind = synced.saturating_sub(sink.acknowledged);
    Cell::text(format!("{state}, {} acknowledged, {behind} behind{error}", sink.acknowledged))
}

/// `1: 40, 2: 3, 3-4: 1`: writes by how many records they had.
fn groups_text(groups: &[u64]) -> String {
    let bounds = |i: usize| match i {
        0 | 1 => (1_u64 << i).to_string(),
        _ if i + 1 == groups.len() => format!("{}+", (1_u64 << (i - 1)) + 1),
        _ => format!("{}-{}", (1_u64 << (i - 1)) + 1, 1_u64 << i),
    };
    let filled = groups.iter().enumerate().filter(|(_, count)| **count > 0);
    filled.map(|(i, count)| format!("{}: {count}", bounds(i))).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn group_sizes_are_told_by_their_bounds() {
        let mut groups = [0; crate::audit::stream::GROUPS];
        (groups[0], groups[1], groups[2], groups[3]) = (4, 3, 2, 1);
        *groups.last_mut().unwrap() = 9;
        assert_eq!(groups_text(&groups), "1: 4, 2: 3, 3-4: 2, 5-8: 1, 4097+: 9");
    }
}
