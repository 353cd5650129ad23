//! pgwarden: a PostgreSQL proxy that pools connections and keeps tenants apart.
//!
//! The modules stand on four floors; a module imports only from its own floor downwards, and `tests/tidy.rs` holds it.
//!
//! | floor | modules | what they may do |
//! |---|---|---|
//! | 3 life | `session`, `admin`, `proxy` | one client's life; console and metrics; accept, reload, drain |
//! | 2 resources | `net`, `auth`, `pool`, `audit`, `topology`, `cluster` | sockets, TLS, login, backends, health |
//! | 1 decisions | `sql`, `policy`, `route`, `reply`, `scram`, `settings` | pure: no socket, no clock, no tokio |
//! | 0 words | `wire`, `config`, `fault`, `metrics` | protocol, plain validated config, errors |
#![forbid(unsafe_code)]

pub mod config;
pub mod fault;
pub mod sql;
