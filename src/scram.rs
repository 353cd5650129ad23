//! SCRAM-SHA-256, both sides, and stored verifiers. Pure.
