//! What the Rust clients share: where to connect, and how results are written down.

use std::fmt::Debug;

/// libpq's environment.
#[derive(Debug, Clone)]
pub struct Endpoint {
    pub host: String,
    pub port: u16,
    pub user: String,
    pub password: String,
    pub database: String,
}

impl Endpoint {
    pub fn from_environment() -> Self {
        let read = |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set"));
        Self {
            host: read("PGHOST"),
            port: read("PGPORT").parse().expect("PGPORT is a number"),
            user: read("PGUSER"),
            password: read("PGPASSWORD"),
            database: read("PGDATABASE"),
        }
    }
}

/// Whether the script does what the owner of a tenant's database may not do (`differences.md`), too.
pub fn all_steps() -> bool {
    std::env::var("PGWARDEN_STEPS").is_ok_and(|steps| steps == "all")
}

pub fn section(name: &str) {
    println!("== {name}");
}

pub fn show(value: impl Debug) {
    println!("{value:?}");
}
