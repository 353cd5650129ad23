//! One test binary for everything that runs the real proxy before a real PostgreSQL, so that it links once.

mod cli;
mod kit;
