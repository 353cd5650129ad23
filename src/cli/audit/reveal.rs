//! `pgwarden audit reveal` and `tenant-key`: texts that a log keeps encrypted, and the keys for that.

use std::path::{Path, PathBuf};

use clap::Args;

use super::{Done, Exit, cannot_start, fail, load, print};
use crate::audit::{self, raw};
use crate::record::quoted;

#[derive(Debug, Args)]
pub(super) struct TenantKeyArguments {
    /// The tenant, by its name in the configuration or the directory
    tenant: String,
    /// Directory of the keys: `raw_text_keys` of the configuration
    #[arg(long, value_name = "DIR")]
    keys: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct RevealArguments {
    /// The record's number
    seq: u64,
    #[command(flatten)]
    shown: super::Shown,
    /// Directory of the keys; without it, audit.raw_text_keys of the configuration
    #[arg(long, value_name = "DIR")]
    keys: Option<PathBuf>,
}

pub(super) fn tenant_key(arguments: &TenantKeyArguments) -> Exit {
    match raw::make_key(&arguments.keys, &arguments.tenant) {
        Ok((path, id)) => print(format!("{id} {}\n", path.display()).as_bytes()),
        Err(error) => {
            let path = raw::key_path(&arguments.keys, &arguments.tenant);
            fail(Exit::Failed, &format!("{}: {error}", path.display()))
        }
    }
}

pub(super) fn reveal(arguments: &RevealArguments) -> Done {
    shown(arguments).unwrap_or_else(|done| done)
}

fn shown(arguments: &RevealArguments) -> Result<Done, Done> {
    let keys = keys(arguments)?;
    let directory = arguments.shown.open("reveal", &format!("record {}", arguments.seq))?;
    let unreadable = |error: std::io::Error| Done(fail(Exit::Unreadable, &format!("{}: {error}", directory.display())));
    let origin = audit::origin_of(&directory).map_err(unreadable)?;
    match text_of(&directory, arguments.seq, &origin, &keys) {
        Ok(text) => Ok(Done(print(format!("{}\n", quoted(&text)).as_bytes()))),
        Err(error) => Err(Done(fail(Exit::Failed, &format!("record {}: {error}", arguments.seq)))),
    }
}

fn keys(arguments: &RevealArguments) -> Result<PathBuf, Done> {
    if let Some(keys) = &arguments.keys {
        return Ok(keys.clone());
    }
    let loaded = load(&arguments.shown.log.config.path).map_err(|problems| Done(cannot_start(&problems)))?;
    loaded.config.audit.and_then(|audit| audit.raw_text_keys.clone()).ok_or_else(|| {
        Done(fail(Exit::Config, "the configuration keeps no texts: name the directory of the keys with --keys"))
    })
}

fn text_of(log: &Path, seq: u64, origin: &str, keys: &Path) -> Result<String, String> {
    let line = audit::record_at(log, seq).map_err(|error| error.to_string())?;
    let record = serde_json::from_slice(&line).map_err(|error| error.to_string())?;
    raw::reveal(&record, origin, keys).map_err(|error| error.to_string())
}
