//! The command line: arguments, exit codes, and what each subcommand prints.
//!
//! Thin: a subcommand reads its arguments, calls the module that does the work, and turns the outcome into an [`Exit`].
//! What programs read goes to standard output, everything else to standard error.

mod audit;
mod doctor;
mod health;
mod log;
mod password;
mod protect;

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::config::{self, Loaded, Problem, Problems};
use crate::demo::{self, DemoError};
use crate::directory::schema;
use crate::policy::{UnknownKind, unknown_kinds};
use crate::proxy::{self, ServeError};
use crate::scram::Verifier;

/// How the process ends. The numbers are part of the interface: `--help` and the manual page list them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    Done,
    /// The command ran and its answer is no: unhealthy, a step of the demo failed, no password given.
    Failed,
    /// The arguments are wrong (clap's own code).
    Usage,
    /// The configuration has problems.
    Config,
    /// An address or socket cannot be listened on.
    Listen,
    /// Something failed while running.
    Runtime,
    /// An audit log, a proof or an export is not what was signed.
    Tampered,
    /// An audit log's end is missing, or an export's.
    Truncated,
    /// An audit log is whole, and says itself that something is not in it.
    Gap,
    /// Files of an audit log cannot be read.
    Unreadable,
    /// Reading the audit log could not be recorded, so nothing was read.
    Unrecorded,
    /// Stopped by Ctrl-C, as shells report it.
    Interrupted,
}

impl Exit {
    const ALL: [Self; 12] = [
        Self::Done,
        Self::Failed,
        Self::Usage,
        Self::Config,
        Self::Listen,
        Self::Runtime,
        Self::Tampered,
        Self::Truncated,
        Self::Gap,
        Self::Unreadable,
        Self::Unrecorded,
        Self::Interrupted,
    ];

    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Config => 3,
            Self::Listen => 4,
            Self::Runtime => 5,
            Self::Tampered => 6,
            Self::Truncated => 7,
            Self::Gap => 8,
            Self::Unreadable => 9,
            Self::Unrecorded => 10,
            Self::Interrupted => 130,
        }
    }

    const fn meaning(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => {
                "the answer is no: unhealthy, a hole in a database's wall, a step of the demo failed, no usable password"
            }
            Self::Usage => "wrong arguments, or a database could not be looked at",
            Self::Config => "the configuration has problems",
            Self::Listen => "an address or socket cannot be listened on",
            Self::Runtime => "something failed while running",
            Self::Tampered => "audit: not what was signed",
            Self::Truncated => "audit: the end is missing",
            Self::Gap => "audit: whole, but the log says itself that something is not in it",
            Self::Unreadable => "audit: files cannot be read",
            Self::Unrecorded => "audit: the read could not be recorded, so nothing was read",
            Self::Interrupted => "interrupted",
        }
    }
}

/// A PostgreSQL proxy that pools connections and keeps tenants apart
#[derive(Debug, Parser)]
#[command(name = "pgwarden", version, after_long_help = after_help(), max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the proxy
    ///
    /// Logs to standard error: readable on a terminal, one JSON object a line otherwise. Runs until SIGTERM or SIGINT.
    #[command(after_long_help = "Examples:\n  pgwarden serve\n  pgwarden serve --config pgwarden.toml\n  \
        kill -HUP $(pidof pgwarden)    # after a change of the configuration")]
    Serve {
        #[command(flatten)]
        config: ConfigFile,
    },
    /// Explain every problem of a configuration file
    ///
    /// Reads the file and everything that it names (certificates, keys, secrets), prints all problems and warnings with what
    /// to write instead, and starts nothing.
    #[command(after_long_help = "Examples:\n  pgwarden check --config pgwarden.toml\n  \
        pgwarden check --config pgwarden.toml --deny-warnings && systemctl reload pgwarden")]
    Check {
        #[command(flatten)]
        config: ConfigFile,
        /// Treat warnings as problems
        #[arg(long)]
        deny_warnings: bool,
    },
    /// Make a database safe for tenants that share tables
    ///
    /// Prints the SQL that a database needs for row isolation, or runs it with --apply: roles, the sealed context and its
    /// keys, row security with a policy on every table that has the tenant column, defaults, grants. What it leaves alone it
    /// says on standard error. Running it again does only what is missing; --undo takes back what it made.
    #[command(
        after_long_help = "Examples:\n  pgwarden protect --database billing --dsn postgresql://postgres@db1/billing\n  \
        pgwarden protect --database billing --dsn postgresql://postgres@db1/billing --apply\n  \
        pgwarden protect --database billing --dsn postgresql://postgres@db1/billing --undo --apply"
    )]
    Protect(protect::ProtectArguments),
    /// Verify that a database keeps tenants apart that share tables
    ///
    /// Looks with the credentials of the role that the tenants share, table by table and grant by grant, and tries what the
    /// catalog does not tell. Exit 1 where there is a hole, 2 where the database could not be looked at; warnings do not fail.
    #[command(after_long_help = "Examples:\n  pgwarden doctor\n  pgwarden doctor --database billing\n  \
        pgwarden doctor --json | jq '.findings[] | select(.level == \"hole\")'")]
    Doctor(doctor::DoctorArguments),
    /// Verify, read and prove an audit log, and make its key
    #[command(
        after_long_help = "Examples:\n  pgwarden audit keygen example.com/audit --out /etc/pgwarden/audit.key\n  \
        pgwarden audit verify /var/lib/pgwarden/audit --key audit.pub\n  \
        pgwarden audit cat --tenant harbor --since 2026-11-30T08:00:00Z"
    )]
    Audit(audit::AuditArguments),
    /// Print the SQL that makes a tenancy's directory
    ///
    /// The tables pgwarden.tenants and pgwarden.users, which `serve` reads and follows where the database's tenancy has a
    /// `directory`, with the role that reads them. One transaction, for a superuser or a role that may create roles and
    /// schemas; it can be run again.
    #[command(after_long_help = "Examples:\n  pgwarden directory --config pgwarden.toml\n  \
        pgwarden directory --config pgwarden.toml --database billing | psql -v ON_ERROR_STOP=1 billing")]
    Directory {
        #[command(flatten)]
        config: ConfigFile,
        /// The database, by its name in the configuration; may be left out where only one has a directory
        #[arg(long, value_name = "NAME")]
        database: Option<String>,
    },
    /// Make a SCRAM verifier of a password
    ///
    /// Asks for the password twice on a terminal, or reads one line of standard input. Prints the verifier as PostgreSQL
    /// keeps it in pg_authid.
    #[command(after_long_help = "Examples:\n  pgwarden passwd\n  pgwarden passwd --user app >> pgwarden.toml\n  \
        printf '%s' \"$PASSWORD\" | pgwarden passwd > app.verifier")]
    Passwd {
        /// Print a table [users.NAME] for the configuration file in place of the bare verifier
        #[arg(long, value_name = "NAME", value_parser = clap::builder::NonEmptyStringValueParser::new())]
        user: Option<String>,
        /// Hashes that one try of a password costs
        #[arg(long, default_value = "4096", value_name = "N",
              value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
        iterations: u32,
    },
    /// Show pgwarden at work on a throwaway PostgreSQL
    ///
    /// Starts a PostgreSQL server with sample data and the proxy in front, prints how to connect, and goes through a guided
    /// tour. Stays up until Ctrl-C, then removes everything.
    #[command(after_long_help = "Examples:\n  pgwarden demo\n  pgwarden demo --once\n  pgwarden demo --port 6543")]
    Demo {
        /// End after the tour; exit 0 only if every step gave what it should
        #[arg(long)]
        once: bool,
        /// Keep the logs of server and proxy and print where they are
        #[arg(long)]
        keep_logs: bool,
        /// Port of the proxy
        #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
        port: Option<u16>,
    },
    /// Ask a running proxy whether it is healthy
    ///
    /// One HTTP request; exit 0 if the answer is good, 1 otherwise. For container images, which have no curl.
    #[command(after_long_help = "Examples:\n  pgwarden healthcheck\n  \
        pgwarden healthcheck --url http://127.0.0.1:9187/readyz --timeout 5")]
    Healthcheck {
        /// What to ask, as admin.http of the configuration has it
        #[arg(long, default_value = "http://127.0.0.1:9187/healthz", value_parser = health::Url::parse)]
        url: health::Url,
        /// Seconds to wait for the answer
        #[arg(long, default_value = "3", value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=60))]
        timeout: u64,
    },
    /// Print completions for a shell
    #[command(after_long_help = "Examples:\n  \
        pgwarden completions bash > /usr/share/bash-completion/completions/pgwarden\n  \
        pgwarden completions zsh > /usr/share/zsh/site-functions/_pgwarden")]
    Completions { shell: clap_complete::Shell },
    /// Print the manual page
    #[command(after_long_help = "Examples:\n  pgwarden man | man -l -\n  pgwarden man --dir /usr/share/man/man1")]
    Man {
        /// Write the pages of all subcommands into this directory instead
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
}

#[derive(Debug, Args)]
struct ConfigFile {
    /// The configuration file
    #[arg(long = "config", short = 'c', value_name = "FILE", default_value = "/etc/pgwarden/pgwarden.toml")]
    path: PathBuf,
}

/// Runs the command that the process's arguments name.
pub fn main() -> ExitCode {
    let exit = match Arguments::try_parse() {
        Ok(arguments) => run(arguments.command),
        Err(error) => {
            // Help and version come this way too, and are no errors.
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Done };
            // Nobody is left to tell when the terminal is gone.
            let _ = error.print();
            exit
        }
    };
    ExitCode::from(exit.code())
}

fn run(command: Command) -> Exit {
    match command {
        Command::Serve { config } => serve(config),
        Command::Check { config, deny_warnings } => check(&config, deny_warnings),
        Command::Protect(arguments) => {
            protect::with_config(&arguments.config.path, async |config| protect::run(&arguments, config).await)
        }
        Command::Doctor(arguments) => {
            protect::with_config(&arguments.config.path, async |config| doctor::run(&arguments, config).await)
        }
        Command::Audit(arguments) => audit::run(arguments),
        Command::Directory { config, database } => directory(&config, database.as_deref()),
        Command::Passwd { user, iterations } => passwd(user.as_deref(), iterations),
        Command::Demo { once, keep_logs, port } => show_demo(&demo::Options {
            after: if once { demo::After::Leave } else { demo::After::Stay },
            logs: if keep_logs { demo::Logs::Keep } else { demo::Logs::Remove },
            port,
        }),
        Command::Healthcheck { url, timeout } => match health::ask(&url, Duration::from_secs(timeout)) {
            Ok(()) => Exit::Done,
            Err(error) => fail(Exit::Failed, &error.to_string()),
        },
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "pgwarden", &mut script);
            print(&script)
        }
        Command::Man { dir } => manual(dir),
    }
}

/// Reads a configuration, the names in roles included: which kinds of statements there are is not the file's to know.
fn load(path: &Path) -> Result<Loaded, Problems> {
    let loaded = config::load(path)?;
    let mut problems = Vec::new();
    for role in loaded.config.roles.values() {
        for UnknownKind { name, nearest } in unknown_kinds(role) {
            problems.push(Problem {
                file: path.to_path_buf(),
                line: None,
                key: format!("roles.{}", config::toml_key(&role.name)),
                found: Some(format!("\"{name}\"")),
                expected: "kinds of statements in allow and deny".to_owned(),
                hint: nearest.map_or_else(
                    || "for example deny = [\"delete\", \"copy_to\"]".to_owned(),
                    |nearest| format!("did you mean \"{nearest}\"?"),
                ),
            });
        }
    }
    if problems.is_empty() { Ok(loaded) } else { Err(Problems(problems)) }
}

fn serve(file: ConfigFile) -> Exit {
    let loaded = match load(&file.path) {
        Ok(loaded) => loaded,
        Err(problems) => return cannot_start(&problems),
    };
    log::start(&loaded.config.log);
    log::warnings(&loaded.warnings);
    let reload = move || match load(&file.path) {
        Ok(loaded) => {
            log::warnings(&loaded.warnings);
            Ok(loaded.config)
        }
        Err(Problems(problems)) => Err(problems.iter().map(ToString::to_string).collect()),
    };
    match proxy::serve(loaded.config, Box::new(reload)) {
        Ok(()) => Exit::Done,
        Err(error) => {
            let exit = match &error {
                ServeError::Bind { .. } => Exit::Listen,
                ServeError::Config(_) => Exit::Config,
                ServeError::Runtime(_) | ServeError::Audit(_) => Exit::Runtime,
            };
            tracing::error!(error = %error, exit_code = exit.code(), "pgwarden stops");
            exit
        }
    }
}

/// Explains a configuration's problems to whoever is there: a person, or what collects the log.
fn cannot_start(problems: &Problems) -> Exit {
    let summary = "the configuration has problems";
    if io::stderr().is_terminal() {
        return fail(Exit::Config, &format!("{summary}\n\n{}", explained(&problems.0, "problem").trim_end()));
    }
    log::start(&config::Log::default());
    log::problems(&problems.0);
    Exit::Config
}

fn check(file: &ConfigFile, deny_warnings: bool) -> Exit {
    let (problems, warnings) = match load(&file.path) {
        Ok(loaded) => (Vec::new(), loaded.warnings),
        Err(Problems(problems)) => (problems, Vec::new()),
    };
    let mut out = explained(&problems, "problem") + &explained(&warnings, "warning");
    let count = |n: usize, noun: &str| format!("{n} {noun}{}", if n == 1 { "" } else { "s" });
    let summary = match (problems.len(), warnings.len()) {
        (0, 0) => "ok".to_owned(),
        (0, warnings) => format!("ok, {}", count(warnings, "warning")),
        (problems, _) => count(problems, "problem"),
    };
    out.push_str(&format!("{}: {summary}\n", file.path.display()));
    let denied = !problems.is_empty() || (deny_warnings && !warnings.is_empty());
    match print(out.as_bytes()) {
        Exit::Done if denied => Exit::Config,
        exit => exit,
    }
}

fn directory(file: &ConfigFile, database: Option<&str>) -> Exit {
    let config = match load(&file.path) {
        Ok(loaded) => loaded.config,
        Err(problems) => return cannot_start(&problems),
    };
    let wanted = |name: &str| database.is_none_or(|database| database == name);
    let scripts =
        config.databases.values().filter(|found| wanted(&found.name)).filter_map(|found| schema::script(found));
    match scripts.collect::<Vec<_>>().as_slice() {
        [script] => print(script.as_bytes()),
        [] => fail(
            Exit::Failed,
            "the configuration has no such database with a directory: write [databases.NAME.tenancy.directory]",
        ),
        [_, _, ..] => fail(Exit::Failed, "several databases have a directory: name one with --database"),
    }
}

fn explained(problems: &[Problem], word: &str) -> String {
    problems.iter().fold(String::new(), |mut out, problem| {
        let _ = write!(out, "{word}: {}\n\n", problem.explain());
        out
    })
}

fn passwd(user: Option<&str>, iterations: u32) -> Exit {
    let password = match password::read() {
        Ok(password) => password,
        Err(password::ReadError::Interrupted) => return Exit::Interrupted,
        Err(error) => return fail(Exit::Failed, &error.to_string()),
    };
    let iterations = NonZeroU32::new(iterations).unwrap_or(NonZeroU32::MIN);
    let verifier = Verifier::derive(password.expose(), &rand::random::<[u8; SALT_LENGTH]>(), iterations);
    let out = match user {
        None => format!("{verifier}\n"),
        Some(name) => format!("[users.{}]\nverifier = \"{verifier}\"\n", config::toml_key(name)),
    };
    print(out.as_bytes())
}

fn show_demo(options: &demo::Options) -> Exit {
    let error = match demo::run(options) {
        Ok(()) => return Exit::Done,
        Err(error) => error,
    };
    let exit = match &error {
        DemoError::Steps { .. } | DemoError::ProxyExit { .. } => Exit::Failed,
        DemoError::Cluster(_) | DemoError::Proxy(_) | DemoError::Protection(_) | DemoError::Io { .. } => Exit::Runtime,
        DemoError::Interrupted => Exit::Interrupted,
    };
    fail(exit, &error.to_string())
}

fn manual(dir: Option<PathBuf>) -> Exit {
    let written = match dir {
        Some(dir) => clap_mangen::generate_to(Arguments::command(), dir).map(|()| Exit::Done),
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(Arguments::command()).render(&mut page).map(|()| print(&page))
        }
    };
    written.unwrap_or_else(|error| fail(Exit::Failed, &format!("cannot write the manual: {error}")))
}

/// Writes to standard output; a reader that left early (`| head`) is no failure.
fn print(bytes: &[u8]) -> Exit {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Ok(()) => Exit::Done,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Done,
        Err(error) => fail(Exit::Failed, &format!("cannot write to standard output: {error}")),
    }
}

fn fail(exit: Exit, message: &str) -> Exit {
    // When standard error is gone too, the exit code has to do.
    let _ = writeln!(io::stderr(), "pgwarden: {message}");
    exit
}

fn after_help() -> String {
    let mut text = String::from(
        "Examples:\n  pgwarden demo\n  pgwarden passwd --user app\n  pgwarden check --config pgwarden.toml\n  \
         pgwarden serve --config pgwarden.toml\n\n\
         Signals of serve:\n  SIGHUP   read the configuration again, all or nothing\n  \
         SIGTERM  let open transactions end, then stop\n  SIGINT   as SIGTERM\n\nExit codes:\n",
    );
    for exit in Exit::ALL {
        let _ = writeln!(text, "  {:<4} {}", exit.code(), exit.meaning());
    }
    text
}

/// PostgreSQL's own length of a verifier's salt.
const SALT_LENGTH: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_command_shows_an_example_and_says_what_it_does() {
        for command in Arguments::command().get_subcommands() {
            assert!(command.get_about().is_some(), "{}", command.get_name());
            let help = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains(&format!("pgwarden {}", command.get_name())), "{}", command.get_name());
            for argument in command.get_arguments() {
                let described = argument.get_help().is_some() || argument.get_id() == "shell";
                assert!(described, "{} {}", command.get_name(), argument.get_id());
            }
        }
    }

    #[test]
    fn exit_codes_are_distinct_and_documented() {
        let help = after_help();
        for (i, exit) in Exit::ALL.iter().enumerate() {
            assert!(help.contains(&format!("  {:<4} {}\n", exit.code(), exit.meaning())), "{exit:?}");
            assert!(Exit::ALL[..i].iter().all(|other| other.code() != exit.code()), "{exit:?}");
        }
    }
}
