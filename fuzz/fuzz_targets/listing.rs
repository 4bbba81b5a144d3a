//! A listing that parses stays byte for byte without edits, but for checksums, and still parses with every entry dropped.
#![no_main]

use libfuzzer_sys::fuzz_target;
use s3cloak::s3::listing::{Edit, Listing};

fuzz_target!(|document: &[u8]| {
    let Ok(listing) = Listing::parse(document) else { return };
    assert_eq!(listing.rewrite(&[], None), document);
    let kept = listing.rewrite(&vec![Edit::default(); listing.entries.len()], None);
    let again = Listing::parse(&kept).expect("still a listing");
    assert_eq!(again.entries.len(), listing.entries.len());
    let dropped = listing.rewrite(&vec![Edit::drop(); listing.entries.len()], None);
    assert!(Listing::parse(&dropped).expect("still a listing").entries.is_empty());
});
