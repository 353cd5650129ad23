//! pgwarden: a PostgreSQL proxy that pools connections and keeps tenants apart.
//!
//! The modules stand on four floors; a module imports only from its own floor downwards, and `tests/tidy.rs` holds it.
//!
//! | floor | modules | what they may do |
//! |---|---|---|
//! | 4 binary | `cli`, `demo` | arguments, the guided tour |
//! | 3 life | `session`, `admin`, `proxy` | one client's life; console and metrics; accept, reload, drain |
//! | 2 resources | `net`, `auth`, `pool`, `audit`, `topology`, `directory`, `guard`, `cluster` | sockets, TLS, login, backends, health |
//! | 1 decisions | `chain`, `record`, `people`, `sql`, `copy`, `rewrite`, `policy`, `route`, `reply`, `scram`, `seal`, `settings` | pure: no socket, no clock, no tokio |
//! | 0 words | `wire`, `tenant`, `config`, `fault`, `metrics` | protocol, plain validated config, errors |
#![forbid(unsafe_code)]

pub mod admin;
pub mod audit;
pub mod auth;
pub mod chain;
pub mod cli;
pub mod cluster;
pub mod config;
pub mod copy;
pub mod demo;
pub mod directory;
pub mod fault;
pub mod guard;
pub mod metrics;
pub mod net;
pub mod people;
pub mod policy;
pub mod pool;
pub mod proxy;
pub mod record;
pub mod reply;
pub mod rewrite;
pub mod route;
pub mod scram;
pub mod seal;
pub mod session;
pub mod settings;
pub mod sql;
pub mod tenant;
pub mod topology;
pub mod wire;
