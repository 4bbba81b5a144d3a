//! Conditional requests (RFC 9110 section 13) on the tags that clients see: pure, no I/O.
//! Who reads the object's state and who answers is decided by the handlers.

mod read;
mod tag;
mod write;

pub use read::{IfRange, ReadConditions, Verdict};
pub use tag::{Tag, TagList};
pub use write::{Current, WriteConditions};
