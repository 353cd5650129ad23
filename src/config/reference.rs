//! The reference of all keys, made from the documentation of the file's tables and keys.

use std::collections::BTreeMap;

use super::raw::RawConfig;
use super::read::{Key, Section, Shape};

/// The reference as Markdown: `docs/config.md` holds a copy, and a test compares them.
pub fn markdown() -> String {
    let mut out = String::from(HEAD);
    for section in RawConfig::KEYS {
        table(&mut out, section, section.name.to_owned());
    }
    out
}

/// Defaults as TOML text, by path: `server.listen`, `users.NAME.pool.size`. Keys without one are absent.
pub fn defaults() -> BTreeMap<String, &'static str> {
    let mut found = BTreeMap::new();
    collect(RawConfig::KEYS, "", &mut found);
    found
}

fn collect(keys: &[Key], prefix: &str, found: &mut BTreeMap<String, &'static str>) {
    for key in keys {
        let path = format!("{prefix}{}", key.name);
        match (key.shape)() {
            Shape::Scalar { .. } => {
                found.extend(key.default.map(|default| (path, default)));
            }
            Shape::Table { keys, .. } => collect(keys, &format!("{path}."), found),
            Shape::Named { keys, .. } => collect(keys, &format!("{path}.NAME."), found),
        }
    }
}

/// One table of the file, then the tables inside it.
fn table(out: &mut String, section: &Key, path: String) {
    let (path, docs, keys) = match (section.shape)() {
        Shape::Scalar { .. } => return,
        Shape::Table { docs, keys } => (path, docs, keys),
        Shape::Named { docs, keys } => (format!("{path}.NAME"), docs, keys),
    };
    out.push_str(&format!("\n## `[{path}]`\n\n{}\n\n", text(docs)));
    out.push_str("| Key | Value | Default | |\n|---|---|---|---|\n");
    for key in keys {
        let (value, default) = match (key.shape)() {
            Shape::Scalar { accepts } => (accepts, key.default),
            Shape::Table { .. } | Shape::Named { .. } => ("a table, see below".to_owned(), None),
        };
        let docs = if key.docs.is_empty() { String::new() } else { text(key.docs) };
        let default = default.map_or_else(String::new, |default| format!("`{default}`"));
        out.push_str(&format!("| `{}` | {} | {} | {} |\n", key.name, cell(&value), cell(&default), cell(&docs)));
    }
    for key in keys {
        // A user's pool has the keys of [pool], which are there already.
        if key.name != "pool" {
            table(out, key, format!("{path}.{}", key.name));
        }
    }
}

/// Lines of a doc comment as one paragraph.
fn text(docs: &[&str]) -> String {
    docs.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ")
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

const HEAD: &str = r#"# Configuration

One TOML file, named by `--config`. `pgwarden check --config FILE` explains every problem in it at once and starts nothing.
[`config/pgwarden.toml`](../config/pgwarden.toml) shows every key with a comment.

- Unknown keys are errors.
- Durations and sizes carry their unit: `"250ms"`, `"30s"`, `"5min"`, `"1h"`, `"1d"`; `"512B"`, `"64KiB"`, `"64MiB"`, `"1GiB"`.
- Relative paths start at the directory of the configuration file.
- SIGHUP, or RELOAD on the console, reads the file again and applies it as a whole or not at all: a file
  with problems, or with a change that needs a restart, changes nothing, and the log says why.
- `NAME` stands for a name of your choice. Names that are not bare TOML keys go in quotes: `[users."app@example"]`.

This page is made from the source: `UPDATE_DOCS=1 cargo test --lib config` writes it anew.
"#;
