//! The audit stream's seam: a [`Ticket`] is opened before a byte of a statement leaves and closes on every path, drop included.
