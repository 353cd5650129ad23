//! Verdicts: what a user may run. Pure.
