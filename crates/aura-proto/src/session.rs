//! Multiplexing of one link.
