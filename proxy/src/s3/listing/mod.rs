//! Listings edited in place: ListBucketResult (V1, V2), ListVersionsResult, ListMultipartUploadsResult. What is not ours stays byte for byte.
//! Which sizes and tags are shown is decided in `ops/list`.

mod parse;
mod rewrite;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::ops::Range;

pub use rewrite::{Checksum, Edit};

/// A backend's listing: the document, and where in it the things stand that we may change.
#[derive(Debug)]
pub struct Listing<'a> {
    document: &'a [u8],
    /// In the order of the document.
    pub entries: Vec<Entry<'a>>,
    /// There is more to list.
    pub is_truncated: bool,
    /// The backend says where to go on (`NextMarker`, `NextContinuationToken`, `NextKeyMarker`).
    pub has_next: bool,
    key_count: Option<(u64, Slot)>,
    marker: Option<Slot>,
    url_encoded: bool,
}

/// What an entry is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum EntryKind {
    /// `<Contents>`
    Object,
    /// `<Version>`
    Version,
    /// `<DeleteMarker>`
    DeleteMarker,
    /// `<Upload>`
    Upload,
    /// A prefix in `<CommonPrefixes>`; its `key` is the prefix.
    Prefix,
}

/// One line of a listing, borrowed from the document where it stands there as it reads.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Entry<'a> {
    /// What it is.
    pub kind: EntryKind,
    /// The key (or prefix), decoded as the listing's encoding says.
    pub key: Cow<'a, [u8]>,
    /// In listings of versions; `null` is a version too.
    pub version_id: Option<Cow<'a, str>>,
    /// In stored bytes; `None` where there is none that is a number.
    pub size: Option<u64>,
    /// The backend's tag, unquoted.
    pub etag: Option<Cow<'a, str>>,
    /// As it stands there.
    pub last_modified: Option<Cow<'a, str>>,
    spans: Spans,
}

/// Where an entry stands in the document.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
struct Spans {
    element: Range<usize>,
    size: Option<Slot>,
    etag: Option<Slot>,
    /// Elements that speak of a checksum: of the ciphertext, where the object is sealed.
    checksums: Vec<Range<usize>>,
}

/// A leaf element whose text may be replaced.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Slot {
    element: Range<usize>,
    text: Range<usize>,
    name: &'static str,
}
