//! The daemon of one laptop.
