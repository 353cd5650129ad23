//! `pgwarden protect`: prints or runs the SQL of a database's wall, or its way back.

use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use clap::Args;
use tokio_postgres::config::Host;

use super::Exit;
use crate::config::{Config, Database, Node, NodeAddress, Secret, ServerLogin};
use crate::guard::catalog::Snapshot;
use crate::guard::plan::{self, Options, Plan, Secrets};
use crate::guard::{Client, GuardError, Wall};
use crate::scram::Verifier;

#[derive(Debug, Args)]
pub(super) struct ProtectArguments {
    #[command(flatten)]
    pub(super) config: super::ConfigFile,
    /// The database, by its name in the configuration
    #[arg(long, short = 'd', value_name = "NAME")]
    database: String,
    /// Whom to connect as: a superuser, or the tables' owner with CREATEROLE; without host and port the shard's primary.
    /// The password may be in PGPASSWORD. Without it the shared role looks, which can only print
    #[arg(long, value_name = "URI")]
    dsn: Option<String>,
    /// Run the SQL, in one transaction, and look whether it had its effect
    #[arg(long, requires = "dsn")]
    apply: bool,
    /// Take back what earlier runs have made
    #[arg(long, requires = "dsn")]
    undo: bool,
    /// Print keys and password verifiers with the SQL
    #[arg(long, conflicts_with_all = ["apply", "undo"])]
    show_key: bool,
    /// Tables without a tenant column that every tenant may read: name or schema.name
    #[arg(long, value_name = "TABLES", value_delimiter = ',')]
    shared: Vec<String>,
}

/// What a command prints, and how it ends.
pub(super) struct Said {
    pub(super) out: String,
    pub(super) remarks: Vec<String>,
    pub(super) exit: Exit,
}

pub(super) async fn run(arguments: &ProtectArguments, config: &Config) -> Result<Said, GuardError> {
    let database = find(config, &arguments.database)?;
    let wall = Wall::of(database)?;
    let (node, login, name) = target(config, database, &wall, arguments.dsn.as_deref())?;
    let mut client = Client::connect(&node, &name, &login).await?;
    if arguments.undo {
        return undo(&mut client, arguments, &wall).await;
    }
    let options = Options { shared: arguments.shared.clone(), verifier: verifier(&wall) };
    if !arguments.apply {
        let snapshot = Snapshot::read(&mut client, wall.user()).await?;
        let plan = Plan::make(&wall, &snapshot, &options)?;
        let secrets = if arguments.show_key { Secrets::Show } else { Secrets::Hide };
        let out = if plan.changes.is_empty() { NOTHING.to_owned() } else { plan::script(&plan, secrets) };
        return Ok(Said { out, remarks: left(&plan), exit: Exit::Done });
    }
    let applied = plan::apply(&mut client, &wall, &options).await?;
    let mut out = String::new();
    for change in &applied.done.changes {
        out.push_str(&format!("done: {}\n", change.what));
    }
    if applied.done.changes.is_empty() {
        out.push_str(NOTHING);
    }
    for change in &applied.rest.changes {
        out.push_str(&format!("NO EFFECT: {}\n", change.what));
    }
    let exit =
        if applied.rest.changes.is_empty() || applied.done.changes.is_empty() { Exit::Done } else { Exit::Failed };
    Ok(Said { out, remarks: left(&applied.rest), exit })
}

const NOTHING: &str = "-- nothing to do\n";

async fn undo(client: &mut Client, arguments: &ProtectArguments, wall: &Wall) -> Result<Said, GuardError> {
    let out = if arguments.apply {
        plan::undo(client, wall.user()).await?
    } else {
        let snapshot = Snapshot::read(client, wall.user()).await?;
        plan::undo_plan(client, &snapshot).await?
    };
    let out = if out.is_empty() { NOTHING.to_owned() } else { out };
    Ok(Said { out, remarks: Vec::new(), exit: Exit::Done })
}

fn left(plan: &Plan) -> Vec<String> {
    plan.left.iter().map(|left| format!("left alone: {}: {}", left.object, left.why)).collect()
}

/// The server stores a verifier, so that the password itself is in no log of its.
fn verifier(wall: &Wall) -> Option<String> {
    let password = wall.row.login.password.as_ref()?;
    let salt = rand::random::<[u8; super::SALT_LENGTH]>();
    Some(Verifier::derive(password.expose(), &salt, ITERATIONS).to_string())
}

/// As PostgreSQL has it.
const ITERATIONS: std::num::NonZeroU32 = std::num::NonZeroU32::new(4096).expect("not zero");

/// A database of the configuration.
pub(super) fn find<'a>(config: &'a Config, name: &str) -> Result<&'a Arc<Database>, GuardError> {
    let unknown = || GuardError::Unfit(format!("the configuration has no database {name}"));
    config.databases.get(name).ok_or_else(unknown)
}

/// Where to connect, and as whom.
fn target(
    config: &Config,
    database: &Database,
    wall: &Wall,
    dsn: Option<&str>,
) -> Result<(Node, ServerLogin, String), GuardError> {
    let shard = config.shards.get(&database.shard);
    let shard = shard.ok_or_else(|| GuardError::Unfit(format!("the configuration has no shard {}", database.shard)))?;
    let mut node = shard.primary.clone();
    let Some(dsn) = dsn else { return Ok((node, wall.row.login.clone(), database.server_database.to_string())) };
    let uri = tokio_postgres::Config::from_str(dsn).map_err(|error| GuardError::Unfit(format!("--dsn: {error}")))?;
    let user = uri.get_user().ok_or_else(|| GuardError::Unfit("--dsn names no user".to_owned()))?;
    let password = match uri.get_password() {
        Some(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        None => std::env::var("PGPASSWORD").ok(),
    };
    let port = uri.get_ports().first().copied();
    match uri.get_hosts().first() {
        Some(Host::Tcp(host)) => {
            node.address = NodeAddress::Tcp { host: host.as_str().into(), port: port.unwrap_or(DEFAULT_PORT) };
        }
        Some(Host::Unix(dir)) => {
            node.address = NodeAddress::Unix { dir: dir.clone(), port: port.unwrap_or(DEFAULT_PORT) }
        }
        None => {}
    }
    let login = ServerLogin { user: user.into(), password: password.map(Secret::new), auth: wall.row.login.auth };
    let name = uri.get_dbname().map_or_else(|| database.server_database.to_string(), str::to_owned);
    Ok((node, login, name))
}

const DEFAULT_PORT: u16 = 5432;

/// Runs one of the two commands against a database.
pub(super) fn with_config<F>(path: &Path, command: F) -> Exit
where
    F: AsyncFnOnce(&Config) -> Result<Said, GuardError>,
{
    let config = match crate::config::load(path) {
        Ok(loaded) => loaded.config,
        Err(problems) => return super::cannot_start(&problems),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return super::fail(Exit::Runtime, &error.to_string()),
    };
    match runtime.block_on(command(&config)) {
        Ok(said) => {
            let printed = super::print(said.out.as_bytes());
            for remark in &said.remarks {
                let _ = super::fail(said.exit, remark);
            }
            if printed == Exit::Done { said.exit } else { printed }
        }
        Err(error) => super::fail(Exit::Usage, &error.to_string()),
    }
}
