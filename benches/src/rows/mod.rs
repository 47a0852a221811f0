//! The rows of the table, one module each.

pub(crate) mod catchup;
pub(crate) mod direct;
pub(crate) mod fan;
pub(crate) mod feel;
pub(crate) mod idle;
pub(crate) mod index;
pub(crate) mod mesh;
pub(crate) mod push;
pub(crate) mod relay;
pub(crate) mod restart;
pub(crate) mod save;
pub(crate) mod semantic;
pub(crate) mod storm;

/// Bytes of one body: a typical patch.
const BODY: usize = 10 << 10;
