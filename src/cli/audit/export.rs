//! `pgwarden audit export`: a tenant's own records, proven.

use std::fs::OpenOptions;
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use clap::Args;

use super::prove::failed;
use super::{Done, Exit, fail};
use crate::audit::read::{ExportError, Tree, export, threads};

#[derive(Debug, Args)]
pub(super) struct ExportArguments {
    #[command(flatten)]
    shown: super::Shown,
    /// Whose records
    #[arg(long)]
    tenant: String,
    /// Where they go: a file for its owner alone; nothing is overwritten
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

pub(super) fn run(arguments: &ExportArguments) -> Done {
    write(arguments).unwrap_or_else(|done| done)
}

fn write(arguments: &ExportArguments) -> Result<Done, Done> {
    let ExportArguments { shown, tenant, out } = arguments;
    let directory = shown.open("export", &format!("tenant {tenant}"))?;
    let at = |error: io::Error| Done(fail(Exit::Failed, &format!("{}: {error}", out.display())));
    let tree = Tree::read(&directory, None, threads()).map_err(|error| failed(&error))?;
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(out).map_err(at)?;
    let mut file = BufWriter::new(file);
    let records = match export(&tree, tenant, &mut file) {
        Ok(records) => records,
        Err(ExportError::Prove(error)) => return Err(failed(&error)),
        Err(error @ (ExportError::Record(_) | ExportError::Write(_))) => {
            return Err(Done(fail(Exit::Failed, &error.to_string())));
        }
    };
    file.into_inner().map_err(|error| at(error.into_error()))?.sync_all().map_err(at)?;
    let checkpoint = tree.checkpoint();
    // The file is the answer; this is for whoever waits for it.
    let _ = writeln!(
        io::stderr(),
        "{records} records of tenant {tenant:?}, each with its proof under the checkpoint over {} records of {}",
        checkpoint.size,
        checkpoint.time
    );
    Ok(Done(Exit::Done))
}
