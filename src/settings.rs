//! Session settings that follow a client over backends. Pure.
