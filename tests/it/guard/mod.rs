//! Wall 1: `protect`, `doctor` and the sealed context, against a real PostgreSQL and without the proxy.

mod doctor;
mod protect;
mod seal;
mod stand;
