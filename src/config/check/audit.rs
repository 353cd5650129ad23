//! The audit stream's section: its keys, what has to be there, and what contradicts itself.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;

use super::{Checker, Place};
use crate::config::problem::quoted;
use crate::config::raw::RawAudit;
use crate::config::read::Field;
use crate::config::value::{Column, FilePath, size_text};
use crate::config::{Audit, Secret, SinkTo, Values};

/// What a key of the log looks like in its file.
const KEY_FORM: &str = "one line that begins with PRIVATE+KEY+";

const HASH_KEY_FORM: &str = "64 hexadecimal digits";

const KEY_HINT: &str = r#"make one with: pgwarden audit keygen NAME, and write key_file = "audit.key""#;

const HASH_KEY_HINT: &str =
    "make one with: (umask 077; openssl rand -hex 32 > hash.key), and write hash_key_file = \"hash.key\"";

impl Checker<'_> {
    pub(super) fn audit(&mut self, field: &Field<RawAudit>) -> Option<Audit> {
        let (raw, place) = field.found()?;
        let hint = r#"write directory = "/var/lib/pgwarden/audit""#;
        let directory = self.required(&raw.directory, place, "directory", hint).map(|path| self.resolve(path));
        if let (Some(directory), Some(place)) = (&directory, raw.directory.place()) {
            self.private_directory(directory, place);
        }
        let key = match &raw.key_file {
            Field::Absent => {
                self.required(&raw.key_file, place, "key_file", KEY_HINT);
                None
            }
            Field::Bad(_) | Field::Found(..) => self.log_key(&raw.key_file),
        };
        let next_key = self.log_key(&raw.next_key_file);
        if let (Some(_), true, Some(place)) = (&key, key == next_key, raw.next_key_file.place()) {
            self.problem(place, Some("the same key"), "another key than key_file's", "remove next_key_file");
        }
        let (segment, retention) = (raw.segment_size().0 as u64, raw.retention_size.value().map(|size| size.0 as u64));
        if let (Some(size), Some(place)) = (retention.filter(|size| *size < 2 * segment), raw.retention_size.place()) {
            let expected = format!("at least two segments, {}", size_text(2 * segment));
            self.problem(place, Some(&size_text(size)), &expected, "raise it, or lower segment_size");
        }
        let columns = self.columns(raw);
        let hash_key = self.hash_key(raw, place, &columns);
        let sinks_ca = self.roots_of_sinks(raw);
        let raw_text_keys = self.directory_of_keys(&raw.raw_text_keys);
        Some(Audit {
            directory: directory?,
            origin: raw.origin.value().map(|origin| origin.0.clone()),
            durability: raw.durability(),
            on_failure: raw.on_failure(),
            key: key?,
            next_key,
            segment_size: segment,
            segment_age: raw.segment_age().0,
            retention_age: raw.retention_age().0,
            retention_size: retention,
            shipped: raw.shipped(),
            checkpoint_interval: raw.checkpoint_interval().0,
            checkpoint_records: u64::from(raw.checkpoint_records().0),
            checkpoint_copies: raw.checkpoint_copies(),
            sinks: raw.sinks(),
            sinks_ca,
            queue_size: raw.queue_size().0,
            parameters: raw.parameters(),
            columns,
            hash_key,
            raw_text_keys,
        })
    }

    /// The log makes its directory where the one above it is there.
    fn private_directory(&mut self, directory: &std::path::Path, place: &Place) {
        let found = quoted(&directory.display().to_string());
        match std::fs::metadata(directory) {
            Ok(there) if !there.is_dir() => {
                self.problem(place, Some(&found), "a directory", "name another path");
            }
            Ok(there) if there.permissions().mode() & 0o022 != 0 => {
                let expected = "a directory that only its owner can write to";
                self.problem(place, Some(&found), expected, "chmod 700 the directory");
            }
            Ok(_) => {}
            Err(_) if directory.parent().is_some_and(|above| above.is_dir()) => {}
            Err(_) => {
                let hint = "make it, owned by the user that runs pgwarden, with mode 700";
                self.problem(place, Some(&found), "a directory that exists, or whose parent does", hint);
            }
        }
    }

    fn roots_of_sinks(&mut self, raw: &RawAudit) -> Option<PathBuf> {
        let (path, place) = raw.sinks_ca.found()?;
        if !raw.sinks().iter().any(|sink| matches!(sink, SinkTo::Tls { .. })) {
            let hint = r#"write sinks = ["tls:HOST:PORT"], or remove sinks_ca"#;
            self.problem(place, Some("no sink with TLS"), "a sink with TLS", hint);
            return None;
        }
        let path = self.resolve(path);
        self.roots(&path, place);
        Some(path)
    }

    /// It has to be there; the keys in it may come later.
    fn directory_of_keys(&mut self, field: &Field<FilePath>) -> Option<PathBuf> {
        let (path, place) = field.found()?;
        let path = self.resolve(path);
        let found = quoted(&path.display().to_string());
        match std::fs::metadata(&path) {
            Ok(there) if there.is_dir() && there.permissions().mode() & 0o022 == 0 => return Some(path),
            Ok(there) if there.is_dir() => {
                let expected = "a directory that only its owner can write to";
                self.problem(place, Some(&found), expected, "chmod 700 the directory");
            }
            Ok(_) | Err(_) => {
                self.problem(place, Some(&found), "a directory that exists", "make it, with mode 700");
            }
        }
        None
    }

    /// The text of a key; whether it is one, the log says when it opens.
    fn log_key(&mut self, field: &Field<FilePath>) -> Option<Secret> {
        let (path, place) = field.found()?;
        let path = self.resolve(path);
        let text = self.secret_file(&path, place)?;
        if !text.starts_with("PRIVATE+KEY+") || text.contains('\n') {
            self.problem(place, Some("another text (not shown)"), KEY_FORM, KEY_HINT);
            return None;
        }
        Some(Secret::new(text))
    }

    fn columns(&mut self, raw: &RawAudit) -> BTreeMap<Arc<str>, Values> {
        let lists = [
            (&raw.columns_omit, raw.columns_omit(), Values::Omit),
            (&raw.columns_hash, raw.columns_hash(), Values::Hash),
            (&raw.columns_clear, raw.columns_clear(), Values::Clear),
        ];
        let mut columns = BTreeMap::new();
        for (field, names, values) in lists {
            for (i, Column(name)) in names.into_iter().enumerate() {
                let place = field.place().cloned().unwrap_or_else(Place::root).item_of_same_line(i);
                if columns.insert(name.clone(), values).is_some() {
                    self.problem(&place, Some(&quoted(&name)), "each column once", "remove one of them");
                }
            }
        }
        columns
    }

    fn hash_key(&mut self, raw: &RawAudit, place: &Place, columns: &BTreeMap<Arc<str>, Values>) -> Option<Secret> {
        let hashes = raw.parameters() == Values::Hash || columns.values().any(|values| *values == Values::Hash);
        match raw.hash_key_file.found() {
            Some((path, place)) => {
                let path = self.resolve(path);
                let text = self.secret_file(&path, place)?;
                if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                    self.problem(place, Some("another text (not shown)"), HASH_KEY_FORM, HASH_KEY_HINT);
                    return None;
                }
                Some(Secret::new(text.to_ascii_lowercase()))
            }
            None => {
                if hashes && raw.hash_key_file.is_absent() {
                    self.required(&raw.hash_key_file, place, "hash_key_file", HASH_KEY_HINT);
                }
                None
            }
        }
    }
}
