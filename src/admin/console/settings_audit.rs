//! The part of `SHOW CONFIG` that is about the audit stream.

use std::path::PathBuf;

use super::{AT_START, List, REDACTED, joined, size, span};
use crate::config::{Audit, CopyTo, Durability, OnFailure, Shipped, Values};

pub(super) fn audit_keys(list: &mut List, audit: &Audit) {
    let Audit {
        directory,
        origin,
        durability,
        on_failure,
        key: _,
        next_key,
        segment_size,
        segment_age,
        retention_age,
        retention_size,
        shipped,
        checkpoint_interval,
        checkpoint_records,
        checkpoint_copies,
        sinks,
        sinks_ca,
        queue_size,
        parameters,
        columns,
        hash_key,
        raw_text_keys,
    } = audit;
    let mut add = |key: &str, value: String| list.add("audit", key, AT_START, value);
    let bytes = |bytes: u64| size(usize::try_from(bytes).unwrap_or(usize::MAX));
    let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
    let secret = |there: bool| if there { REDACTED.to_owned() } else { String::new() };
    add("directory", directory.display().to_string());
    add("origin", origin.as_deref().unwrap_or_default().to_owned());
    add("durability", durability_text(*durability).to_owned());
    add("on_failure", failure_text(*on_failure).to_owned());
    add("key_file", REDACTED.to_owned());
    add("next_key_file", secret(next_key.is_some()));
    add("segment_size", bytes(*segment_size));
    add("segment_age", span(*segment_age));
    add("retention_age", span(*retention_age));
    add("retention_size", retention_size.map(bytes).unwrap_or_default());
    add("shipped", shipped_text(*shipped).to_owned());
    add("checkpoint_interval", span(*checkpoint_interval));
    add("checkpoint_records", checkpoint_records.to_string());
    add("checkpoint_copies", joined(checkpoint_copies.iter().map(copy_text)));
    add("sinks", joined(sinks));
    add("sinks_ca", path(sinks_ca));
    add("queue_size", size(*queue_size));
    add("parameters", values_text(*parameters).to_owned());
    for (key, which) in
        [("columns_omit", Values::Omit), ("columns_hash", Values::Hash), ("columns_clear", Values::Clear)]
    {
        add(key, joined(columns.iter().filter(|(_, values)| **values == which).map(|(name, _)| name)));
    }
    add("hash_key_file", secret(hash_key.is_some()));
    add("raw_text_keys", path(raw_text_keys));
}

pub(in crate::admin) fn durability_text(durability: Durability) -> &'static str {
    match durability {
        Durability::Strict => "strict",
        Durability::Group => "group",
        Durability::Relaxed => "relaxed",
    }
}

pub(in crate::admin) fn failure_text(on_failure: OnFailure) -> &'static str {
    match on_failure {
        OnFailure::Block => "block",
        OnFailure::Refuse => "refuse",
    }
}

fn shipped_text(shipped: Shipped) -> &'static str {
    match shipped {
        Shipped::Marker => "marker",
        Shipped::Unneeded => "unneeded",
    }
}

fn values_text(values: Values) -> &'static str {
    match values {
        Values::Omit => "omit",
        Values::Hash => "hash",
        Values::Clear => "clear",
    }
}

fn copy_text(copy: &CopyTo) -> String {
    match copy {
        CopyTo::Directory(path) => path.display().to_string(),
        CopyTo::Http(url) => shown_url(url),
        CopyTo::SyslogUnix(path) => format!("syslog:{}", path.display()),
        CopyTo::SyslogUdp(address) => format!("syslog:{address}"),
    }
}

/// A URL without what may be secret in it: its query, and a login before the host.
fn shown_url(url: &str) -> String {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    let Some((scheme, rest)) = url.split_once("://") else { return REDACTED.to_owned() };
    let (host, path) = rest.split_once('/').map_or((rest, ""), |(host, path)| (host, path));
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    format!("{scheme}://{host}/{path}")
}
