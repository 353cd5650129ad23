//! Which servers there are, and which of them a statement goes to.
