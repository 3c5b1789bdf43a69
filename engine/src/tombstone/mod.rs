//! Range tombstones: everything older between two keys is gone.
//!
//! - A range tombstone covers the keys from its start up to its end, which it does not cover, and
//!   hides what is older than itself, from readers who see it.
//! - They are kept as *fragments*: ranges that do not overlap, each with the sequence numbers of all
//!   tombstones that cover it. Whatever covers a key lies in one fragment.
//! - Digests go along: who cuts a fragment checks them and computes those of the pieces.

mod fragment;
mod map;
mod sweep;
mod window;

pub(crate) use fragment::{Fragment, last_covered, successor};
pub(crate) use map::FragmentMap;
pub(crate) use sweep::{FragmentSource, Sweep};
pub(crate) use window::Window;
