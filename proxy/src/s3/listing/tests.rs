//! Tests of reading and editing listings.

use proptest::prelude::*;

use super::*;
use crate::error::Code;
use crate::s3::xml::Writer;

const V2: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
<Name>b</Name><Prefix></Prefix><KeyCount>3</KeyCount><MaxKeys>1000</MaxKeys><IsTruncated>true</IsTruncated>\
<NextContinuationToken>t</NextContinuationToken>\
<Contents><Key>a&amp;b</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>&quot;aa&quot;</ETag>\
<ChecksumAlgorithm>CRC32</ChecksumAlgorithm><ChecksumType>FULL_OBJECT</ChecksumType><Size>529</Size>\
<StorageClass>STANDARD</StorageClass><Owner><ID>o</ID></Owner></Contents>\
<Contents> <Size>0</Size> <ETag>\"bb\"</ETag><Key>sys/x</Key></Contents>\n\
<CommonPrefixes><Prefix>p/</Prefix></CommonPrefixes></ListBucketResult>\n";

fn edit(size: u64, etag: &str) -> Edit {
    Edit { size: Some(size), etag: Some(etag.to_owned()), ..Edit::default() }
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

#[test]
fn entries_are_found() {
    let listing = Listing::parse(V2.as_bytes()).unwrap();
    assert!(listing.is_truncated && listing.has_next);
    let seen: Vec<_> = listing
        .entries
        .iter()
        .map(|e| (e.kind, &*e.key, e.size, e.etag.as_deref(), e.last_modified.as_deref()))
        .collect();
    let expected = [
        (EntryKind::Object, &b"a&b"[..], Some(529), Some("aa"), Some("2026-01-01T00:00:00.000Z")),
        (EntryKind::Object, b"sys/x", Some(0), Some("bb"), None),
        (EntryKind::Prefix, b"p/", None, None, None),
    ];
    assert_eq!(seen, expected);
}

#[test]
fn only_what_is_ours_changes() {
    let listing = Listing::parse(V2.as_bytes()).unwrap();
    let out = text(listing.rewrite(&[edit(1, "new"), edit(2, "n&w"), Edit::default()], None));
    let expected = V2
        .replace("<ChecksumAlgorithm>CRC32</ChecksumAlgorithm><ChecksumType>FULL_OBJECT</ChecksumType>", "")
        .replace("<Size>529<", "<Size>1<")
        .replace("&quot;aa&quot;", "&quot;new&quot;")
        .replace("<Size>0<", "<Size>2<")
        .replace("\"bb\"", "\"n&amp;w\"");
    assert_eq!(out, expected);
}

#[test]
fn checksums_are_dropped_kept_or_shown() {
    let listing = Listing::parse(V2.as_bytes()).unwrap();
    let as_it_is = "<ChecksumAlgorithm>CRC32</ChecksumAlgorithm><ChecksumType>FULL_OBJECT</ChecksumType>";
    let with = |checksum| {
        let edits = [
            Edit { checksum, ..Edit::default() },
            Edit { checksum, etag: Some("e".to_owned()), ..Edit::default() },
        ];
        text(listing.rewrite(&edits, None))
    };
    assert_eq!(with(Checksum::Drop), V2.replace(as_it_is, "").replace("\"bb\"", "\"e\""));
    assert_eq!(with(Checksum::Keep), V2.replace("\"bb\"", "\"e\""));
    let shown = "<ChecksumAlgorithm>SHA256</ChecksumAlgorithm><ChecksumType>COMPOSITE</ChecksumType>";
    let expected = V2.replace(as_it_is, shown).replace("\"bb\"</ETag>", &format!("\"e\"</ETag>{shown}"));
    assert_eq!(with(Checksum::Show("SHA256", "COMPOSITE")), expected);
}

#[test]
fn dropped_entries_are_not_counted() {
    let listing = Listing::parse(V2.as_bytes()).unwrap();
    let out = text(listing.rewrite(&[Edit::default(), Edit::drop(), Edit::drop()], None));
    assert!(out.contains("<KeyCount>1</KeyCount>"), "{out}");
    assert!(!out.contains("sys/x") && !out.contains("CommonPrefixes"), "{out}");
    assert!(out.ends_with("</Contents>\n</ListBucketResult>\n"), "{out}");
    assert_eq!(Listing::parse(out.as_bytes()).unwrap().entries.len(), 1);
}

#[test]
fn empty_elements_are_filled() {
    let document =
        b"<ListBucketResult><Marker/><Contents><Key>k</Key><ETag/><Size/></Contents></ListBucketResult>";
    let listing = Listing::parse(document).unwrap();
    assert_eq!((listing.entries[0].size, listing.entries[0].etag.as_deref()), (None, Some("")));
    let out = text(listing.rewrite(&[edit(7, "e")], Some(b"a<b")));
    assert_eq!(
        out,
        "<ListBucketResult><Marker>a&lt;b</Marker><Contents><Key>k</Key><ETag>&quot;e&quot;</ETag><Size>7</Size>\
         </Contents></ListBucketResult>"
    );
}

#[test]
fn url_encoded_keys_are_decoded_and_left_encoded() {
    let document = b"<ListBucketResult><Marker></Marker><Contents><Key>a+b%2B%C3%A9/%01</Key></Contents>\
        <CommonPrefixes><Prefix>x%20y/</Prefix><Prefix>z/</Prefix></CommonPrefixes><EncodingType>url</EncodingType>\
        </ListBucketResult>";
    let listing = Listing::parse(document).unwrap();
    let keys: Vec<_> = listing.entries.iter().map(|e| &*e.key).collect();
    assert_eq!(keys, [&b"a b+\xc3\xa9/\x01"[..], b"x y/", b"z/"]);
    assert_eq!(listing.rewrite(&[], None), document);
    let out = text(listing.rewrite(&[Edit::default(), Edit::drop(), Edit::default()], Some(b"m n")));
    assert!(out.contains("<Marker>m%20n</Marker>"), "{out}");
    assert!(out.contains("<CommonPrefixes><Prefix>z/</Prefix></CommonPrefixes>"), "{out}");
}

#[test]
fn versions_and_delete_markers_are_told_apart() {
    let document = b"<ListVersionsResult><NextKeyMarker>k</NextKeyMarker><Version><Key>k</Key><VersionId>v1</VersionId>\
        <Size>5</Size></Version><DeleteMarker><Key>k</Key><VersionId>null</VersionId></DeleteMarker></ListVersionsResult>";
    let listing = Listing::parse(document).unwrap();
    let seen: Vec<_> = listing.entries.iter().map(|e| (e.kind, e.version_id.as_deref())).collect();
    assert_eq!(seen, [(EntryKind::Version, Some("v1")), (EntryKind::DeleteMarker, Some("null"))]);
    assert!(listing.has_next && !listing.is_truncated);
}

#[test]
fn keys_need_not_be_utf8() {
    let document = b"<ListBucketResult><Contents><Key>\xff\xfe</Key></Contents></ListBucketResult>";
    let listing = Listing::parse(document).unwrap();
    assert_eq!(*listing.entries[0].key, b"\xff\xfe"[..]);
    assert_eq!(listing.rewrite(&[Edit::default()], None), document);
}

#[test]
fn broken_listings_are_the_backends_fault() {
    for bad in [
        "",
        "<html/>",
        "<Error><Code>NoSuchBucket</Code></Error>",
        "<ListBucketResult>",
        "<ListBucketResult><Contents></Contents></ListBucketResult>",
        "<ListBucketResult><Contents><Size>1</Size></Contents></ListBucketResult>",
        "<ListBucketResult><Contents><Key>a<b/></Key></Contents></ListBucketResult>",
        "<ListBucketResult>text</ListBucketResult>",
        "<ListBucketResult></ListBucketResult><ListBucketResult/>",
        "<!DOCTYPE x><ListBucketResult/>",
    ] {
        let error = Listing::parse(bad.as_bytes()).unwrap_err();
        assert_eq!(error.code(), &Code::BadGateway, "{bad}");
    }
    let cut = &V2[..V2.len() - 30];
    assert_eq!(Listing::parse(cut.as_bytes()).unwrap_err().code().status(), 502);
}

/// One generated entry: key, size, tag, checksums, an element that we do not know.
type Row = (String, u64, String, bool, bool);

/// A listing, and where `shown` gives other sizes and tags, the same listing as clients shall see it.
fn render(rows: &[Row], shown: Option<&[Edit]>, space: &str) -> String {
    let mut out = Writer::new("ListBucketResult").finish().replace("</ListBucketResult>", "");
    let kept = |at: usize| shown.is_none_or(|s| !s[at].drop);
    let count = (0..rows.len()).filter(|at| kept(*at)).count();
    out.push_str(&format!("<KeyCount>{count}</KeyCount>{space}"));
    for (at, (key, size, etag, checksum, other)) in rows.iter().enumerate() {
        if !kept(at) {
            out.push_str(space);
            continue;
        }
        let size = shown.and_then(|s| s[at].size).unwrap_or(*size);
        let etag = shown.and_then(|s| s[at].etag.clone()).unwrap_or_else(|| etag.clone());
        let mut k = String::new();
        crate::s3::xml::escape(key, &mut k);
        out.push_str(&format!("<Contents>{space}<Key>{k}</Key><ETag>&quot;{etag}&quot;</ETag>"));
        if *checksum && shown.is_none() {
            out.push_str("<ChecksumAlgorithm>SHA1</ChecksumAlgorithm><ChecksumType>COMPOSITE</ChecksumType>");
        }
        out.push_str(&format!("<Size>{size}</Size>"));
        if *other {
            out.push_str("<Vendor a='1'><Size>9</Size><ETag>x</ETag><![CDATA[<Size>]]></Vendor><!-- <Size>1</Size> -->");
        }
        out.push_str(&format!("</Contents>{space}"));
    }
    out.push_str("</ListBucketResult>");
    out
}

fn rows() -> impl Strategy<Value = Vec<(Row, Edit)>> {
    let row = ("[ -~\u{e9}\r\n]{1,12}", any::<u64>(), "[0-9a-f]{32}(-[1-9])?", any::<bool>(), any::<bool>());
    let edit = (any::<bool>(), proptest::option::of(any::<u64>()), proptest::option::of("[0-9a-f]{32}"))
        .prop_map(|(drop, size, etag)| Edit { drop, size, etag, ..Edit::default() });
    proptest::collection::vec((row, edit), 0..8)
}

proptest! {
    #[test]
    fn bytes_outside_the_edits_are_identical(rows in rows(), space in "[ \n\t]{0,3}") {
        let (rows, edits): (Vec<Row>, Vec<Edit>) = rows.into_iter().unzip();
        let document = render(&rows, None, &space);
        let listing = Listing::parse(document.as_bytes()).unwrap();
        let keys: Vec<_> = listing.entries.iter().map(|e| String::from_utf8(e.key.to_vec()).unwrap()).collect();
        prop_assert_eq!(keys, rows.iter().map(|r| r.0.clone()).collect::<Vec<_>>());
        prop_assert_eq!(text(listing.rewrite(&edits, None)), render(&rows, Some(&edits), &space));
    }

    #[test]
    fn no_bytes_panic(document in proptest::collection::vec(any::<u8>(), 0..200), cut in 0..V2.len()) {
        drop(Listing::parse(&document));
        let mut mixed = V2.as_bytes()[..cut].to_vec();
        mixed.extend_from_slice(&document);
        if let Ok(listing) = Listing::parse(&mixed) {
            let edits = vec![edit(1, "e"); listing.entries.len()];
            listing.rewrite(&edits, Some(b"m"));
        }
    }
}

#[test]
fn ten_thousand_entries_stay_in_order() {
    let rows: Vec<Row> =
        (0..10_000).map(|n| (format!("key-{n:05}"), n, "ab".repeat(16), true, false)).collect();
    let edits: Vec<Edit> = (0..10_000).map(|n| edit(n + 1, &format!("{n:032x}"))).collect();
    let document = render(&rows, None, "");
    let listing = Listing::parse(document.as_bytes()).unwrap();
    assert_eq!(text(listing.rewrite(&edits, None)), render(&rows, Some(&edits), ""));
}
