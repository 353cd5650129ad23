//! The audit log's metrics. Labels are the stages of a record and the places that the configuration names.

use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::proto::{self, Bucket, MetricType};

use super::{Metric, Page, counter, flag, gauge, histogram, metric};
use crate::audit::{Figures, SinkFigures, State};

impl Page {
    pub(super) fn audit(&mut self, figures: &Figures) {
        let states = [
            ("writing", figures.state == State::Writing),
            ("failed", matches!(figures.state, State::Failed { .. })),
            ("full", figures.state == State::Full),
        ];
        let states = states.map(|(state, is_it)| gauge(&[("state", state)], flag(is_it))).to_vec();
        self.add(MetricType::GAUGE, "audit_state", "1 for the state that the audit log is in.", states);
        let records = [
            ("appended", figures.appended),
            ("written", figures.written),
            ("synced", figures.synced),
            ("covered", figures.covered),
        ];
        let help = "Records of the whole log: taken, with the operating system, on disk, covered by a checkpoint.";
        self.counters("audit_records_total", help, "stage", records);
        self.gauge("audit_queue_bytes", "Bytes of records that wait for the writer.", figures.queue_bytes as f64);
        let max = figures.queue_bytes_max as f64;
        self.gauge("audit_queue_bytes_max", "At so many waiting bytes statements are held back.", max);
        let syncs = vec![histogram(&[], &figures.sync_times)];
        self.add(MetricType::HISTOGRAM, "audit_sync_seconds", "Time of a sync.", syncs);
        let groups = vec![groups(figures)];
        self.add(MetricType::HISTOGRAM, "audit_write_records", "Records that were written at once.", groups);
        self.gauge("audit_segments", "Files of records, the current one included.", figures.segments as f64);
        let unshipped = "Files of records that are due for deletion, but not safe elsewhere.";
        self.gauge("audit_segments_unshipped", unshipped, figures.unshipped as f64);
        if let Some(signed) = &figures.signed {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros() as u64;
            let age = now.saturating_sub(signed.time.micros) as f64 / 1e6;
            self.gauge("audit_checkpoint_age_seconds", "Time since the newest checkpoint was signed.", age);
        }
        for (name, help, value) in [
            ("audit_bytes_total", "Bytes of records written.", figures.bytes),
            ("audit_checkpoints_total", "Checkpoints signed.", figures.checkpoints),
            ("audit_failures_total", "Times that the audit log became unwritable.", figures.failures),
            ("audit_refused_total", "Statements refused because they could not be recorded.", figures.refused),
            ("audit_lost_total", "Records that found no room.", figures.lost),
        ] {
            self.add(MetricType::COUNTER, name, help, vec![counter(&[], value)]);
        }
        let copies = figures.copies.iter().flat_map(|copy| {
            let of = |result, n| counter(&[("target", &*copy.target), ("result", result)], n);
            [of("sent", copy.sent), of("missed", copy.missed)]
        });
        let copies = copies.collect();
        self.add(MetricType::COUNTER, "audit_copies_total", "Copies of checkpoints, by place.", copies);
        self.sinks(figures);
    }

    fn sinks(&mut self, figures: &Figures) {
        let mut each = |kind, name: &str, help: &str, make: &dyn Fn(&SinkFigures) -> u64| {
            let metrics = figures.sinks.iter().map(|sink| {
                let labels = [("target", &*sink.target)];
                if kind == MetricType::COUNTER {
                    counter(&labels, make(sink))
                } else {
                    gauge(&labels, make(sink) as f64)
                }
            });
            let metrics = metrics.collect();
            self.add(kind, name, help, metrics);
        };
        let (is, total) = (MetricType::GAUGE, MetricType::COUNTER);
        each(is, "audit_sink_connected", "1 while the receiver is connected.", &|sink| sink.connected.into());
        each(is, "audit_sink_behind_records", "Records on disk that it has not acknowledged.", &|sink| {
            figures.synced.saturating_sub(sink.acknowledged)
        });
        each(total, "audit_sink_connects_total", "Connections to the receiver.", &|sink| sink.connects);
        each(total, "audit_sink_failures_total", "Connections that failed or broke.", &|sink| sink.failures);
    }
}

/// Powers of two, as the writer counts them.
fn groups(figures: &Figures) -> Metric {
    let mut cumulative = 0;
    let bounded = figures.groups[..figures.groups.len() - 1].iter().enumerate().map(|(i, n)| {
        cumulative += n;
        let mut bucket = Bucket::default();
        bucket.set_upper_bound((1_u64 << i) as f64);
        bucket.set_cumulative_count(cumulative);
        bucket
    });
    let mut histogram = proto::Histogram::default();
    histogram.set_bucket(bounded.collect());
    histogram.set_sample_sum(figures.grouped as f64);
    histogram.set_sample_count(figures.groups.iter().sum());
    let mut metric = metric(&[]);
    metric.set_histogram(histogram);
    metric
}
