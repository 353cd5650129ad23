//! The log's records about itself: start and stop, gaps, changes of keys, deleted segments, copies that failed.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::reads::Announcement;
use crate::chain::{KeyId, Time};
use crate::record::put_number;

/// Version of the records' fields.
pub const RECORD_VERSION: u32 = 1;

/// A record of the log's own.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Control {
    /// A process has opened the log. `clean`: the one before closed it.
    Start {
        clean: bool,
        key: KeyId,
    },
    Stop,
    /// Bytes at the end that were no whole record, after a crash. They are in `file`.
    Torn {
        bytes: u64,
        file: String,
    },
    /// The log could not be written for a while. `lost`: records that are missing; `refused`: statements that were not run.
    Outage {
        since: SystemTime,
        error: String,
        lost: u64,
        refused: u64,
    },
    /// Checkpoints are signed with another key from the next one on, which both sign.
    KeyChange {
        old: KeyId,
        new: KeyId,
        new_public: String,
    },
    /// Retention is about to delete the segment with these records.
    SegmentDeleted {
        first: u64,
        records: u64,
        reason: &'static str,
    },
    /// Somebody reads the log; absent: it was announced in words that are none.
    Read {
        id: String,
        announcement: Option<Announcement>,
    },
    CopyFailed {
        target: String,
        error: String,
    },
    CopyRestored {
        target: String,
        missed: u64,
    },
    SinkFailed {
        target: String,
        error: String,
    },
    /// A receiver has all records below `next` again.
    SinkRestored {
        target: String,
        next: u64,
    },
}

impl Control {
    /// The fields after the sequence number. `mono`: time since the stream was opened.
    pub fn fields(&self, mono: Duration) -> Vec<u8> {
        let (kind, rest) = self.says();
        let (time, mono) = (now(), mono.as_micros());
        let mut out = format!("\"v\":{RECORD_VERSION},\"time\":\"{time}\",\"mono\":{mono},\"kind\":\"{kind}\"");
        for (key, value) in rest.as_object().into_iter().flatten() {
            out.push_str(&format!(",\"{key}\":{value}"));
        }
        out.into_bytes()
    }

    fn says(&self) -> (&'static str, Value) {
        match self {
            Self::Start { clean, key } => {
                let version = env!("CARGO_PKG_VERSION");
                (
                    "start",
                    json!({"clean": clean, "pid": std::process::id(), "version": version, "key": key.to_string()}),
                )
            }
            Self::Stop => ("stop", json!({})),
            Self::Torn { bytes, file } => ("gap", json!({"reason": "torn", "bytes": bytes, "file": file})),
            Self::Outage { since, error, lost, refused } => {
                let kind = if *lost > 0 { "gap" } else { "recovered" };
                let since = time(*since).to_string();
                let reason = "not_writable";
                (kind, json!({"reason": reason, "since": since, "error": error, "lost": lost, "refused": refused}))
            }
            Self::KeyChange { old, new, new_public } => {
                let (old, new) = (old.to_string(), new.to_string());
                ("key_change", json!({"old_key": old, "new_key": new, "new_public_key": new_public}))
            }
            Self::SegmentDeleted { first, records, reason } => {
                ("segment_deleted", json!({"first": first, "records": records, "reason": reason}))
            }
            Self::Read { id, announcement: None } => ("read", json!({"id": id})),
            Self::Read { id, announcement: Some(Announcement { command, arguments, by, login, at }) } => {
                let mut fields = json!({"id": id, "command": command, "arguments": arguments, "by": by, "at": at});
                if let Some(login) = login {
                    fields["login"] = json!(login);
                }
                ("read", fields)
            }
            Self::CopyFailed { target, error } => ("checkpoint_copy_failed", json!({"target": target, "error": error})),
            Self::CopyRestored { target, missed } => {
                ("checkpoint_copy_restored", json!({"target": target, "missed": missed}))
            }
            Self::SinkFailed { target, error } => ("sink_failed", json!({"target": target, "error": error})),
            Self::SinkRestored { target, next } => ("sink_restored", json!({"target": target, "next": next})),
        }
    }
}

/// What every record begins with.
pub(super) fn begin(out: &mut Vec<u8>, seq: u64) {
    out.extend_from_slice(b"{\"seq\":");
    put_number(out, seq);
    out.push(b',');
}

pub(super) fn now() -> Time {
    time(SystemTime::now())
}

/// Before 1970 counts as 1970.
pub(super) fn time(moment: SystemTime) -> Time {
    let since = moment.duration_since(UNIX_EPOCH).unwrap_or_default();
    Time { micros: u64::try_from(since.as_micros()).unwrap_or(u64::MAX) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::documented;

    fn written(seq: u64, control: &Control) -> Value {
        let mut line = Vec::new();
        begin(&mut line, seq);
        line.extend(control.fields(Duration::from_micros(7)));
        line.push(b'}');
        assert!(line.starts_with(format!("{{\"seq\":{seq},\"v\":1,").as_bytes()), "{}", String::from_utf8_lossy(&line));
        assert!(!line.contains(&b'\n'));
        serde_json::from_slice(&line).expect("one JSON object")
    }

    #[test]
    fn records_are_json_whatever_they_say() {
        let key = KeyId([0, 1, 0xab, 255]);
        let nasty = "a\"b\\c\nd\u{0}";
        let outage = |lost| Control::Outage { since: UNIX_EPOCH, error: nasty.to_owned(), lost, refused: 2 };
        let start = written(0, &Control::Start { clean: true, key });
        assert_eq!((&start["kind"], &start["key"], &start["mono"]), (&json!("start"), &json!("0001abff"), &json!(7)));
        assert_eq!(written(u64::MAX, &Control::Stop)["seq"], json!(u64::MAX));
        assert_eq!(written(10, &outage(0))["kind"], json!("recovered"));
        let gap = written(11, &outage(3));
        assert_eq!((&gap["kind"], &gap["lost"], &gap["error"]), (&json!("gap"), &json!(3), &json!(nasty)));
        let deleted = Control::SegmentDeleted { first: 5, records: 6, reason: "age" };
        assert_eq!(written(12, &deleted)["records"], json!(6));
        let torn = Control::Torn { bytes: 9, file: "torn-1-2".to_owned() };
        assert_eq!(written(13, &torn)["reason"], json!("torn"));
        let change = Control::KeyChange { old: key, new: key, new_public: "k".to_owned() };
        assert_eq!(written(14, &change)["kind"], json!("key_change"));
        let failed = Control::CopyFailed { target: nasty.to_owned(), error: nasty.to_owned() };
        assert_eq!(written(15, &failed)["target"], json!(nasty));
        assert_eq!(written(16, &Control::CopyRestored { target: nasty.to_owned(), missed: 4 })["missed"], json!(4));
    }

    #[test]
    fn records_of_the_log_are_documented() {
        let (key, text) = (KeyId([1; 4]), || "x".to_owned());
        let outage = |lost| Control::Outage { since: UNIX_EPOCH, error: text(), lost, refused: 1 };
        let announcement = Announcement { login: Some(text()), ..Announcement::new("cat", "") };
        let records = [
            Control::Start { clean: true, key },
            Control::Stop,
            Control::Torn { bytes: 1, file: text() },
            outage(0),
            outage(1),
            Control::KeyChange { old: key, new: key, new_public: text() },
            Control::SegmentDeleted { first: 1, records: 1, reason: "age" },
            Control::Read { id: text(), announcement: None },
            Control::Read { id: text(), announcement: Some(announcement) },
            Control::CopyFailed { target: text(), error: text() },
            Control::CopyRestored { target: text(), missed: 1 },
            Control::SinkFailed { target: text(), error: text() },
            Control::SinkRestored { target: text(), next: 1 },
        ];
        let records: Vec<Value> = records.iter().map(|control| written(1, control)).collect();
        documented::assert_documented(&records);
    }
}
