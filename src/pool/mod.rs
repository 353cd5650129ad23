//! Backends: opening them, lending them, cleaning them, closing them. Only this module moves a backend between states.

pub mod connect;
