//! CopyObject: the backend copies the sealed bytes by itself, under an envelope that is made anew for key, mode, bucket and
//! name, and no data moves; what cannot be copied so is pumped (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html>).

mod in_place;
mod object;
mod parts;
pub mod pump;
mod ranges;
mod rewrap;
mod update;

pub(crate) use in_place::seal_in_place;
pub use object::copy_object;
pub(crate) use rewrap::{Copied, Rewrap, is_safe};
pub(crate) use update::onto_itself;
pub use update::update_object_encryption;

/// Looks at an object at most this often before it gives up on one that is being replaced all the time.
pub(crate) const ATTEMPTS: usize = 3;
