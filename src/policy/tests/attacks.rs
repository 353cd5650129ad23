//! The corpus of bypasses.
