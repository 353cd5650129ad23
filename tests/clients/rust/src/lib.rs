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

pub fn section(name: &str) {
    println!("== {name}");
}

pub fn show(value: impl Debug) {
    println!("{value:?}");
}
