//! One test binary for everything that runs the real proxy before a real PostgreSQL, so that it links once.

mod cli;
mod facts;
mod frames;
mod kit;
mod leaks;
mod prepared;
mod rig;
mod settings;
mod soak;
mod talk;
