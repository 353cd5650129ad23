//! The queue of owed replies: forward, skip, synthesise. Pure.
