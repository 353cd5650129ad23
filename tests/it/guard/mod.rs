//! Wall 1: `protect`, `doctor` and the sealed context, against a real PostgreSQL and without the proxy.

mod doctor;
pub mod protect;
mod seal;
pub mod stand;
