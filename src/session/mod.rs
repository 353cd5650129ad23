//! One client's life, from login to close.
