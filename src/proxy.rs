//! Workers, accept, reload, drain.
