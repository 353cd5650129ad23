//! What clients ask of the catalogs.
