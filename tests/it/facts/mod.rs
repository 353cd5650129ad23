//! What went wrong in other proxies for PostgreSQL, each as a test of this one: real proxy, real server.
//!
//! The numbers in the comments are those of the list of protocol lessons that these tests were written from. A pool of
//! one backend wherever it matters what the next client finds.

mod accounting;
mod cancel;
mod copy;
mod login;
mod prepared;
