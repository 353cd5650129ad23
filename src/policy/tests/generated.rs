//! Generated statements.
