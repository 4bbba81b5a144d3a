//! What the code asks about a backend instead of its vendor's name. Filled by the configuration and the probe.

use std::collections::BTreeSet;

use super::folding::Fold;
use super::framing::{Framing, TrailerChecksum};
use crate::config::{ProfileOverrides, UploadFraming};

/// How one backend behaves where S3 implementations differ.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Profile {
    /// Framing of streamed uploads.
    pub framing: UploadFraming,
    /// The trailing checksum, where the framing has one.
    pub trailer_checksum: TrailerChecksum,
    /// A wrong trailing checksum is refused.
    pub trailers_verified: bool,
    /// `If-None-Match: *` on PUT is honoured.
    pub put_if_none_match: bool,
    /// `If-Match` on PUT is honoured, both ways.
    pub put_if_match: bool,
    /// `If-Match` on DELETE is honoured.
    pub delete_if_match: bool,
    /// ... and the `ETag` of an entry of DeleteObjects, which storage that honours the one may ignore.
    pub delete_many_if_match: bool,
    /// It copies objects by itself.
    pub copies: bool,
    /// `x-amz-copy-source-if-match` is honoured: a copy can be pinned to the object that was looked at.
    pub copy_source_if_match: bool,
    /// A copy of an object onto itself replaces it as a whole. Where it changes the object in place, its metadata may come
    /// upon another writer's bytes, whatever conditions it carries. No probe can tell: the operator has to.
    pub whole_self_copies: bool,
    /// It copies parts of uploads by itself, small ones too.
    pub part_copies: bool,
    /// `x-amz-copy-source-if-match` is honoured there.
    pub part_copy_source_if_match: bool,
    /// `If-Match` on a copy is honoured, both ways.
    pub copy_if_match: bool,
    /// `If-None-Match: *` on a copy is honoured.
    pub copy_if_none_match: bool,
    /// `If-None-Match: *` on CompleteMultipartUpload is honoured.
    pub complete_if_none_match: bool,
    /// `If-Match` on CompleteMultipartUpload is honoured.
    pub complete_if_match: bool,
    /// It lists uploads as S3 does: prefix, delimiter, both markers, page sizes and encoding.
    pub lists_uploads: bool,
    /// `Range: bytes=-N` gives the last N bytes, and the whole object where it is shorter.
    pub suffix_ranges: bool,
    /// A wrong Content-MD5 is refused.
    pub content_md5: bool,
    /// Keys with these are other keys to it: nothing can be stored under them.
    pub folds: BTreeSet<Fold>,
    /// Subresources whose GET, PUT and DELETE it tells from the bare operation.
    pub subresources: BTreeSet<String>,
}

impl Profile {
    /// What is assumed until the probe has run: as AWS where a wrong guess shows as an error, cautious where it
    /// would lose data.
    pub(super) fn assumed(overrides: &ProfileOverrides) -> Self {
        let assumed = Self {
            framing: UploadFraming::UnsignedTrailer,
            trailer_checksum: TrailerChecksum::Crc64Nvme,
            trailers_verified: false,
            put_if_none_match: false,
            put_if_match: false,
            delete_if_match: false,
            delete_many_if_match: false,
            copies: false,
            copy_source_if_match: false,
            whole_self_copies: false,
            part_copies: false,
            part_copy_source_if_match: false,
            copy_if_match: false,
            copy_if_none_match: false,
            complete_if_none_match: false,
            complete_if_match: false,
            lists_uploads: false,
            suffix_ranges: true,
            content_md5: true,
            folds: BTreeSet::new(),
            subresources: BTreeSet::new(),
        };
        assumed.overridden(overrides)
    }

    /// What the operator states wins over what was measured.
    pub(super) fn overridden(mut self, overrides: &ProfileOverrides) -> Self {
        if let Some(framing) = overrides.framing {
            self.framing = framing;
        }
        if let Some(honoured) = overrides.conditional_writes {
            self.put_if_none_match = honoured;
            self.put_if_match = honoured;
            self.delete_if_match = honoured;
            self.delete_many_if_match = honoured;
            self.complete_if_none_match = honoured;
            self.complete_if_match = honoured;
        }
        if let Some(pinned) = overrides.pinned_copies {
            self.copies |= pinned;
            self.copy_source_if_match = pinned;
            self.part_copies |= pinned;
            self.part_copy_source_if_match = pinned;
        }
        if let Some(whole) = overrides.whole_self_copies {
            self.whole_self_copies = whole;
        }
        if let Some(honoured) = overrides.conditional_copies {
            self.copy_if_match = honoured;
            self.copy_if_none_match = honoured;
        }
        if let Some(works) = overrides.suffix_ranges {
            self.suffix_ranges = works;
        }
        if let Some(subresources) = &overrides.subresources {
            self.subresources.extend(subresources.iter().cloned());
        }
        self
    }

    /// Whether an object can be copied onto itself so that no other writer's is lost for it, or mixed with it.
    pub fn has_safe_self_copies(&self) -> bool {
        let by_parts = self.part_copies && (self.part_copy_source_if_match || self.complete_if_match);
        self.copy_source_if_match && (self.whole_self_copies || by_parts)
    }

    /// Whether a subresource beyond the core set may be passed on. A backend that does not know one runs the bare
    /// operation instead: `DELETE /bucket?website` has deleted buckets.
    pub fn has_subresource(&self, name: &str) -> bool {
        self.subresources.contains(name)
    }

    pub(super) fn upload_framing(&self) -> Framing {
        Framing::new(self.framing, self.trailer_checksum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_assumed_that_could_lose_data() {
        let assumed = Profile::assumed(&ProfileOverrides::default());
        assert!(!assumed.put_if_none_match && !assumed.put_if_match);
        assert!(!assumed.delete_if_match && !assumed.delete_many_if_match);
        assert!(!assumed.copy_source_if_match && !assumed.copy_if_match && !assumed.copy_if_none_match);
        assert!(!assumed.whole_self_copies && !assumed.part_copies && !assumed.part_copy_source_if_match);
        assert!(!assumed.complete_if_none_match && !assumed.complete_if_match);
        assert!(!assumed.has_subresource("website"));
        assert_ne!(assumed.framing, UploadFraming::Plain);
    }

    #[test]
    fn the_operators_word_wins() {
        let overrides = ProfileOverrides {
            framing: Some(UploadFraming::SignedChunks),
            conditional_writes: Some(true),
            pinned_copies: Some(true),
            conditional_copies: Some(false),
            whole_self_copies: Some(true),
            suffix_ranges: Some(false),
            subresources: Some(vec!["website".into()]),
            accept_short_bodies: false,
        };
        let profile = Profile::assumed(&overrides);
        assert_eq!(profile.upload_framing(), Framing::Signed);
        assert!(profile.put_if_match && profile.put_if_none_match && !profile.suffix_ranges);
        assert!(profile.copies && profile.copy_source_if_match && profile.whole_self_copies);
        assert!(profile.part_copies && profile.part_copy_source_if_match);
        assert!(!profile.copy_if_match && !profile.copy_if_none_match);
        assert!(profile.complete_if_match && profile.complete_if_none_match && profile.delete_if_match);
        assert!(profile.has_subresource("website") && !profile.has_subresource("replication"));
    }
}
