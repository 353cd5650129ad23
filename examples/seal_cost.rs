//! Measures what a tenant's context costs the server: its CPU time for each prepared point lookup through pgwarden, on a
//! primary and on a hot standby, sealed and by a setting, alone and ten to a transaction.
//!
//! `cargo run --release --example seal_cost -- --pgwarden target/release/pgwarden [--rounds N] [--seconds N]`.
//! Rounds are interleaved; the least of each is shown, for what else runs on the machine only adds.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};
use clap::Parser;
use pgwarden::cluster::Cluster;

/// Measures what a tenant's context costs the server
#[derive(Parser)]
struct Args {
    /// The binary that protects and proxies
    #[arg(long)]
    pgwarden: PathBuf,
    /// Directory with `bin`, `lib` and `share` of another PostgreSQL
    #[arg(long)]
    installation: Option<PathBuf>,
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Length of each run
    #[arg(long, default_value_t = 5)]
    seconds: u64,
}

const KEY: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
const ROWS: u32 = 100_000;
const SCHEMA: &str =
    "create table items (tenant_id bigint not null, id int not null, note text, primary key (tenant_id, id));
                      insert into items select 7, n, 'note ' || n from generate_series(1, 100000) n; analyze items";
const LOOKUP: &str = "\\set id random(1, 100000)\nselect note from items where id = :id;\n";
/// Lookups to a transaction.
const SIZES: [usize; 2] = [1, 10];
const CONTEXTS: [&str; 2] = ["setting", "sealed"];

fn main() -> Result<()> {
    let args = Args::parse();
    let directory = tempfile::tempdir()?;
    let mut builder = Cluster::builder().setting("autovacuum", "off").setting("jit", "off");
    if let Some(installation) = &args.installation {
        builder = builder.installation(installation);
    }
    let mut primary = builder.start()?;
    for context in CONTEXTS {
        primary.psql("postgres", &format!("create database {context}"))?;
        primary.psql(context, SCHEMA)?;
        let config = configuration(directory.path(), &primary, context)?;
        let dsn = format!("postgresql://postgres:{}@{}/{context}", primary.password(), primary.address());
        let protect = Command::new(&args.pgwarden)
            .args(["protect", "--apply", "--database", context, "--dsn", &dsn, "--config"])
            .arg(&config)
            .output()?;
        if !protect.status.success() {
            bail!("protect: {}", String::from_utf8_lossy(&protect.stderr));
        }
    }
    let standby = primary.standby()?;
    standby.catch_up(&primary)?;
    for size in SIZES {
        let between = if size > 1 { ("begin;\n", "commit;\n") } else { ("", "") };
        let script = format!("{}{}{}", between.0, LOOKUP.repeat(size), between.1);
        fs::write(directory.path().join(format!("{size}.sql")), script)?;
    }
    println!("PostgreSQL {}, {ROWS} rows, {} rounds of {} s", primary.version(), args.rounds, args.seconds);
    for (side, cluster) in [("primary", &primary), ("standby", &standby)] {
        for size in SIZES {
            let mut costs = [Vec::new(), Vec::new()];
            for _ in 0..args.rounds {
                for (context, costs) in CONTEXTS.iter().zip(&mut costs) {
                    costs.push(lookup_us(&args, directory.path(), cluster, context, size)?);
                }
            }
            let [setting, sealed] = costs.map(|costs| costs.into_iter().fold(f64::INFINITY, f64::min));
            println!(
                "{side}, {size} to a transaction: setting {setting:.1} us, sealed {sealed:.1} us a lookup, ratio {:.2}",
                sealed / setting
            );
        }
    }
    Ok(())
}

/// The server's CPU time for each lookup, in microseconds.
fn lookup_us(args: &Args, directory: &Path, cluster: &Cluster, context: &str, size: usize) -> Result<f64> {
    let proxy = Proxy::start(&args.pgwarden, &configuration(directory, cluster, context)?)?;
    let pgbench = |seconds: u64| -> Result<f64> {
        let output = Command::new(cluster.program("pgbench"))
            .args(["-n", "-M", "prepared", "-c", "1", "-h", "127.0.0.1", "-U", "seven", "-p", &proxy.port])
            .args(["-T", &seconds.to_string(), "-f"])
            .arg(directory.join(format!("{size}.sql")))
            .arg(context)
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let done = text.lines().find_map(|line| line.strip_prefix("number of transactions actually processed: "));
        let done = done.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
        done.with_context(|| format!("pgbench: {text}{}", String::from_utf8_lossy(&output.stderr)))
    };
    pgbench(1)?;
    let before = cpu_ns(cluster)?;
    let transactions = pgbench(args.seconds)?;
    Ok((cpu_ns(cluster)? - before) / transactions / size as f64 / 1000.0)
}

/// CPU time of the sessions of this server that live.
fn cpu_ns(cluster: &Cluster) -> Result<f64> {
    let postmaster = cluster.pid().context("the server runs")?;
    let children = fs::read_to_string(format!("/proc/{postmaster}/task/{postmaster}/children"))?;
    let mut sum = 0.0;
    for pid in children.split_whitespace() {
        let title = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        if String::from_utf8_lossy(&title).contains("shared_app") {
            let schedstat = fs::read_to_string(format!("/proc/{pid}/schedstat"))?;
            sum += schedstat.split_whitespace().next().context("time on the CPU")?.parse::<f64>()?;
        }
    }
    Ok(sum)
}

fn configuration(directory: &Path, cluster: &Cluster, context: &str) -> Result<PathBuf> {
    let keys = directory.join("seal.keys");
    fs::write(&keys, format!("1:{KEY}\n"))?;
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(&keys, fs::Permissions::from_mode(0o600))?;
    let kind = match context {
        "sealed" => format!("keys_file = '{}'", keys.display()),
        _ => "context = 'setting'\nsetting = 'app.tenant_id'".to_owned(),
    };
    let path = directory.join("pgwarden.toml");
    let text = format!(
        "[server]\nlisten = ['127.0.0.1:0']\nworkers = 1\n[pool]\nsize = 1\n\
         [shards.main]\nprimary = {{ host = '127.0.0.1', port = {}, tls = 'disable' }}\n\
         [databases.{context}]\nshard = 'main'\n\
         [databases.{context}.tenancy]\nkey_type = 'bigint'\nserver_user = 'shared_app'\nserver_password = 'a password'\n{kind}\n\
         [tenants.seven]\ndatabase = '{context}'\nkey = '7'\n[users.seven]\ntenant = 'seven'\ndanger_trust = true\n",
        cluster.port()
    );
    fs::write(&path, text)?;
    Ok(path)
}

struct Proxy {
    child: Child,
    port: String,
}

impl Proxy {
    fn start(binary: &Path, config: &Path) -> Result<Self> {
        let mut command = Command::new(binary);
        command.arg("serve").arg("--config").arg(config).stdin(Stdio::null()).stdout(Stdio::null());
        let mut child = command.stderr(Stdio::piped()).spawn()?;
        let mut lines = BufReader::new(child.stderr.take().context("its log")?).lines();
        let mut port = None;
        for line in lines.by_ref() {
            let line = line?;
            if let Some(address) = line.split("address").nth(1) {
                port = address
                    .split("127.0.0.1:")
                    .nth(1)
                    .map(|rest| rest.chars().take_while(char::is_ascii_digit).collect());
            }
            if line.contains("wall is sound") {
                break;
            }
        }
        std::thread::spawn(move || lines.for_each(drop));
        Ok(Self { child, port: port.context("a port")? })
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
