//! Which node a statement goes to. Pure.
