//! One test binary for everything that runs the real proxy before a real PostgreSQL, so that it links once.

mod attacks;
mod audit;
mod backend;
mod canary;
mod certificates;
mod cli;
mod clients;
mod copy_in;
mod demo;
mod directory;
mod facts;
mod frames;
mod front;
mod guard;
mod kept;
mod kit;
mod leaks;
mod limits;
mod login;
mod prepared;
mod rewriting;
mod rig;
mod settings;
mod soak;
mod talk;
mod tenants;
