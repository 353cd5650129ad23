//! `pgwarden doctor`: whether the wall of a database holds, with what mends each hole.

use clap::Args;

use super::Exit;
use super::protect::{Said, find};
use crate::config::{Config, Isolation};
use crate::guard::{self, GuardError};

#[derive(Debug, Args)]
pub(super) struct DoctorArguments {
    #[command(flatten)]
    pub(super) config: super::ConfigFile,
    /// One database, by its name in the configuration; without it every one whose tenants share tables
    #[arg(long, short = 'd', value_name = "NAME")]
    database: Option<String>,
    /// Print JSON: one report a line
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: &DoctorArguments, config: &Config) -> Result<Said, GuardError> {
    let databases = match &arguments.database {
        Some(name) => vec![find(config, name)?.clone()],
        None => {
            let shares = |isolation: &Isolation| matches!(isolation, Isolation::Row(_));
            let of_rows = config
                .databases
                .values()
                .filter(|database| database.tenancy.as_ref().is_some_and(|tenancy| shares(&tenancy.isolation)));
            of_rows.cloned().collect()
        }
    };
    if databases.is_empty() {
        return Err(GuardError::Unfit("the configuration has no database whose tenants share tables".to_owned()));
    }
    let mut said = Said { out: String::new(), remarks: Vec::new(), exit: Exit::Done };
    for database in databases {
        let report = guard::verify(config, &database).await?;
        if report.holes().next().is_some() {
            said.exit = Exit::Failed;
        }
        if arguments.json {
            let json = serde_json::to_string(&report).map_err(|error| GuardError::Answer(error.to_string()))?;
            said.out.push_str(&json);
        } else {
            said.out.push_str(&report.table());
        }
        said.out.push('\n');
    }
    Ok(said)
}
