//! What one line of a listing shows: by arithmetic where that is certain, else only after a look at the object.

use object_format::length::plain_len;

use crate::config::{BucketRule, EtagPolicy, ListingMode, Unencrypted};
use crate::info::Info;
use crate::plan::checksum::ShownChecksum;
use crate::s3::etag::opaque;
use crate::s3::listing::{Checksum, Edit, Entry};

/// What a line shows.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Shown {
    /// This, for certain.
    Settled(Edit),
    /// What the object's footer says; what [`arithmetic`] says where the object cannot be opened for good.
    AsLookedUp,
}

/// Decides for an entry that is an object.
pub(super) fn decide(rule: &BucketRule, entry: &Entry<'_>) -> Shown {
    let may_be_plain = matches!(rule.unencrypted_objects, Unencrypted::Pass { .. });
    let inverts = entry.size.is_some_and(|stored| plain_len(stored).is_some());
    if !inverts {
        // No sealed object has this size. In a bucket that serves plaintext it is shown as a GET would.
        let as_it_is = may_be_plain && entry.size.is_some();
        return Shown::Settled(if as_it_is { untouched() } else { arithmetic(entry) });
    }
    let is_sealed = !may_be_plain || rule.listing == ListingMode::Arithmetic;
    match rule.etag {
        EtagPolicy::Opaque if is_sealed => Shown::Settled(arithmetic(entry)),
        EtagPolicy::Opaque | EtagPolicy::Md5 => Shown::AsLookedUp,
    }
}

/// The size that the stored one inverts to, if it does, and an opaque tag.
pub(super) fn arithmetic(entry: &Entry<'_>) -> Edit {
    Edit { size: entry.size.and_then(plain_len), etag: entry.etag.as_deref().map(opaque), ..Edit::default() }
}

fn untouched() -> Edit {
    Edit { checksum: Checksum::Keep, ..Edit::default() }
}

/// What an entry shows whose object was looked at.
pub(super) fn from_info(entry: &Entry<'_>, info: &Info) -> Edit {
    let etag = Some(info.etag.clone());
    if !info.encrypted() {
        return Edit { size: entry.size, etag, ..untouched() };
    }
    let checksum = ShownChecksum::of_object(info)
        .map_or(Checksum::Drop, |shown| Checksum::Show(shown.algorithm.name(), shown.kind));
    Edit { size: Some(info.plain_size), etag, checksum, ..Edit::default() }
}

#[cfg(test)]
mod tests {
    use object_format::length::sealed_len;

    use super::*;
    use crate::auth::testing::rule;
    use crate::config::Anonymous;
    use crate::s3::listing::Listing;

    const TAG: &str = "0123456789abcdef0123456789abcdef";

    fn decided(rule: &BucketRule, size: &str) -> (Shown, Edit) {
        let document = format!(
            "<ListBucketResult><Contents><Key>k</Key><ETag>\"{TAG}\"</ETag>{size}</Contents></ListBucketResult>"
        );
        let listing = Listing::parse(document.as_bytes()).unwrap();
        let entry = &listing.entries[0];
        (decide(rule, entry), arithmetic(entry))
    }

    fn sized(rule: &BucketRule, size: u64) -> (Shown, Edit) {
        decided(rule, &format!("<Size>{size}</Size>"))
    }

    fn of(etag: EtagPolicy, unencrypted_objects: Unencrypted, listing: ListingMode) -> BucketRule {
        BucketRule { etag, unencrypted_objects, listing, ..rule(Anonymous::Deny) }
    }

    const PASS: Unencrypted = Unencrypted::Pass { before: None };

    fn opaque_edit(size: Option<u64>) -> Edit {
        Edit { size, etag: Some(format!("{TAG}-1")), ..Edit::default() }
    }

    #[test]
    fn opaque_buckets_need_no_look() {
        let opaque = of(EtagPolicy::Opaque, Unencrypted::Reject, ListingMode::Lookup);
        for plain in [0, 1, 65_536, 65_537, 5 << 20, 1 << 40] {
            let (shown, _) = sized(&opaque, sealed_len(plain));
            assert_eq!(shown, Shown::Settled(opaque_edit(Some(plain))), "{plain}");
        }
    }

    #[test]
    fn md5_buckets_look() {
        for listing in [ListingMode::Lookup, ListingMode::Arithmetic] {
            let md5 = of(EtagPolicy::Md5, Unencrypted::Reject, listing);
            assert_eq!(sized(&md5, sealed_len(10)), (Shown::AsLookedUp, opaque_edit(Some(10))));
        }
    }

    #[test]
    fn where_plaintext_may_be_a_size_is_not_inverted_unseen() {
        let legacy = of(EtagPolicy::Opaque, PASS, ListingMode::Lookup);
        assert_eq!(sized(&legacy, sealed_len(10)).0, Shown::AsLookedUp);
        let arithmetic = of(EtagPolicy::Opaque, PASS, ListingMode::Arithmetic);
        assert_eq!(sized(&arithmetic, sealed_len(10)).0, Shown::Settled(opaque_edit(Some(10))));
    }

    #[test]
    fn sizes_that_do_not_invert_are_shown_as_they_are() {
        for odd in [1, 512, 527, 66_070] {
            let reject = of(EtagPolicy::Md5, Unencrypted::Reject, ListingMode::Lookup);
            assert_eq!(sized(&reject, odd).0, Shown::Settled(opaque_edit(None)), "{odd}");
            let legacy = of(EtagPolicy::Md5, PASS, ListingMode::Lookup);
            assert_eq!(sized(&legacy, odd).0, Shown::Settled(untouched()), "{odd}");
        }
    }

    #[test]
    fn entries_without_a_size_keep_none() {
        let reject = of(EtagPolicy::Md5, Unencrypted::Reject, ListingMode::Lookup);
        assert_eq!(decided(&reject, "").0, Shown::Settled(opaque_edit(None)));
        assert_eq!(decided(&reject, "<Size>-1</Size>").0, Shown::Settled(opaque_edit(None)));
    }
}
