//! What one line of a listing shows: by arithmetic where that is certain, else only after a look at the object.

use object_format::length::plain_len;

use crate::config::{BucketRule, EtagPolicy, ListingMode, Unencrypted};
use crate::info::Info;
use crate::s3::etag::opaque;
use crate::s3::listing::{Edit, Entry};

/// What a line shows.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Shown {
    /// This, for certain.
    Settled(Edit),
    /// What the object's footer says; this where the object cannot be opened for good.
    AsLookedUp {
        /// Arithmetic size and opaque tag.
        otherwise: Edit,
    },
}

/// Decides for an entry that is an object.
pub(super) fn decide(rule: &BucketRule, entry: &Entry) -> Shown {
    let may_be_plain = matches!(rule.unencrypted_objects, Unencrypted::Pass { .. });
    let tag = entry.etag.as_deref().map(opaque);
    let Some(stored) = entry.size else {
        return Shown::Settled(Edit { etag: tag, ..Edit::default() });
    };
    match plain_len(stored) {
        // No sealed object has this size. In a bucket that serves plaintext it is shown as a GET would.
        None if may_be_plain => Shown::Settled(Edit::default()),
        None => Shown::Settled(Edit { etag: tag, ..Edit::default() }),
        Some(plain) => {
            let edit = Edit { drop: false, size: Some(plain), etag: tag };
            let is_sealed = !may_be_plain || rule.listing == ListingMode::Arithmetic;
            match rule.etag {
                EtagPolicy::Opaque if is_sealed => Shown::Settled(edit),
                EtagPolicy::Opaque | EtagPolicy::Md5 => Shown::AsLookedUp { otherwise: edit },
            }
        }
    }
}

/// What an entry shows whose object was looked at.
pub(super) fn from_info(entry: &Entry, info: &Info) -> Edit {
    if info.encrypted() {
        Edit { drop: false, size: Some(info.plain_size), etag: Some(info.etag.clone()) }
    } else {
        Edit { drop: false, size: entry.size, etag: Some(info.etag.clone()) }
    }
}

#[cfg(test)]
mod tests {
    use object_format::length::sealed_len;

    use super::*;
    use crate::auth::testing::rule;
    use crate::config::Anonymous;
    use crate::s3::listing::Listing;

    const TAG: &str = "0123456789abcdef0123456789abcdef";

    fn entry(size: &str) -> Entry {
        let document = format!(
            "<ListBucketResult><Contents><Key>k</Key><ETag>\"{TAG}\"</ETag>{size}</Contents></ListBucketResult>"
        );
        Listing::parse(document.as_bytes()).unwrap().entries[0].clone()
    }

    fn sized(size: u64) -> Entry {
        entry(&format!("<Size>{size}</Size>"))
    }

    fn of(etag: EtagPolicy, unencrypted_objects: Unencrypted, listing: ListingMode) -> BucketRule {
        BucketRule { etag, unencrypted_objects, listing, ..rule(Anonymous::Deny) }
    }

    const PASS: Unencrypted = Unencrypted::Pass { before: None };

    fn opaque_edit(size: Option<u64>) -> Edit {
        Edit { drop: false, size, etag: Some(format!("{TAG}-1")) }
    }

    #[test]
    fn opaque_buckets_need_no_look() {
        let opaque = of(EtagPolicy::Opaque, Unencrypted::Reject, ListingMode::Lookup);
        for plain in [0, 1, 65_536, 65_537, 5 << 20, 1 << 40] {
            let shown = decide(&opaque, &sized(sealed_len(plain)));
            assert_eq!(shown, Shown::Settled(opaque_edit(Some(plain))), "{plain}");
        }
    }

    #[test]
    fn md5_buckets_look() {
        for listing in [ListingMode::Lookup, ListingMode::Arithmetic] {
            let md5 = of(EtagPolicy::Md5, Unencrypted::Reject, listing);
            let shown = decide(&md5, &sized(sealed_len(10)));
            assert_eq!(shown, Shown::AsLookedUp { otherwise: opaque_edit(Some(10)) });
        }
    }

    #[test]
    fn where_plaintext_may_be_a_size_is_not_inverted_unseen() {
        let legacy = of(EtagPolicy::Opaque, PASS, ListingMode::Lookup);
        assert!(matches!(decide(&legacy, &sized(sealed_len(10))), Shown::AsLookedUp { .. }));
        let arithmetic = of(EtagPolicy::Opaque, PASS, ListingMode::Arithmetic);
        assert_eq!(decide(&arithmetic, &sized(sealed_len(10))), Shown::Settled(opaque_edit(Some(10))));
    }

    #[test]
    fn sizes_that_do_not_invert_are_shown_as_they_are() {
        for odd in [1, 512, 527, 66_070] {
            let reject = of(EtagPolicy::Md5, Unencrypted::Reject, ListingMode::Lookup);
            assert_eq!(decide(&reject, &sized(odd)), Shown::Settled(opaque_edit(None)), "{odd}");
            let legacy = of(EtagPolicy::Md5, PASS, ListingMode::Lookup);
            assert_eq!(decide(&legacy, &sized(odd)), Shown::Settled(Edit::default()), "{odd}");
        }
    }

    #[test]
    fn entries_without_a_size_keep_none() {
        let reject = of(EtagPolicy::Md5, Unencrypted::Reject, ListingMode::Lookup);
        assert_eq!(decide(&reject, &entry("")), Shown::Settled(opaque_edit(None)));
        assert_eq!(decide(&reject, &entry("<Size>-1</Size>")), Shown::Settled(opaque_edit(None)));
    }
}
