//! CopyObject: the backend copies the sealed bytes by itself, under an envelope that is made anew for key, mode, bucket and
//! name. No data moves (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html>).

mod object;
mod ranges;
mod rewrap;
mod update;

pub use object::copy_object;
pub(crate) use rewrap::{Copied, Rewrap};
pub(crate) use update::onto_itself;
pub use update::update_object_encryption;

/// Looks at an object at most this often before it gives up on one that is being replaced all the time.
pub(crate) const ATTEMPTS: usize = 3;
