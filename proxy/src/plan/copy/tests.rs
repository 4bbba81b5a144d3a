//! Copy sources, ranges, conditions and directives as tables.

use super::*;
use crate::info::Nature;
use crate::s3::headers::copy_source;

fn headers(pairs: &[(&'static str, &[u8])]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(HeaderName::from_static(name), HeaderValue::from_bytes(value).unwrap());
    }
    headers
}

fn source(value: &[u8]) -> Result<(String, Vec<u8>, Option<String>)> {
    let source = CopySource::of(&headers(&[("x-amz-copy-source", value)]))?;
    Ok((source.bucket.as_str().to_owned(), source.key.as_bytes().to_vec(), source.version))
}

#[test]
fn sources_in_every_spelling_name_their_object() {
    for (value, key, version) in [
        (&b"bkt/key"[..], &b"key"[..], None),
        (b"/bkt/key", b"key", None),
        (b"bkt%2Fkey", b"key", None),
        (b"%2Fbkt%2fkey", b"key", None),
        (b"bkt//key", b"/key", None),
        (b"/bkt//a//b/", b"/a//b/", None),
        (b"bkt/a/../b", b"a/../b", None),
        (b"bkt/a+b%20c%2Bd", b"a+b c+d", None),
        // Decoded once.
        (b"bkt/a%252Fb", b"a%2Fb", None),
        (b"bkt/%E2%82%AC%FF", b"\xe2\x82\xac\xff", None),
        (b"bkt/\xe2\x82\xac", b"\xe2\x82\xac", None),
        (b"bkt/key?versionId=v1", b"key", Some("v1")),
        (b"/bkt/key?versionId=a%2Fb+c", b"key", Some("a/b+c")),
        (b"bkt/key?versionId=null", b"key", Some("null")),
        (b"bkt/%3FversionId", b"?versionId", None),
        (b"bkt/a%3FversionId=1", b"a?versionId=1", None),
        (b"bkt/a%3FversionId%3D1?versionId=2", b"a?versionId=1", Some("2")),
        (b"bkt/a?versionId=1?versionId=2", b"a?versionId=1", Some("2")),
        (b"bkt/a?b=c", b"a?b=c", None),
        (b"bkt/arn:aws:s3", b"arn:aws:s3", None),
    ] {
        let shown = String::from_utf8_lossy(value);
        let found = source(value).unwrap_or_else(|e| panic!("{shown}: {e}"));
        assert_eq!(found, ("bkt".to_owned(), key.to_vec(), version.map(str::to_owned)), "{shown}");
        // A backend is told the same.
        let again = CopySource::of(&headers(&[("x-amz-copy-source", value)])).unwrap();
        assert_eq!(
            source(copy_source(&again.bucket, &again.key, again.version.as_deref()).unwrap().as_bytes())
                .unwrap(),
            found,
            "{shown}"
        );
    }
}

#[test]
fn what_names_no_object_is_refused() {
    const MENTION: &str = "must mention the source bucket and key";
    for (value, words) in [
        (&b""[..], MENTION),
        (b"/", MENTION),
        (b"bkt", MENTION),
        (b"bkt/", MENTION),
        (b"/bkt/", MENTION),
        (b"//key", MENTION),
        (b"bkt?versionId=1", MENTION),
        (b"ab/key", "bucket name"),
        (b"-bkt/key", "bucket name"),
        (b"b kt/key", "bucket name"),
        (b"bkt/key%", "encoding"),
        (b"bkt/key%2", "encoding"),
        (b"bkt/%zz", "encoding"),
        (b"bkt/key?versionId=", "Version id"),
        (b"bkt/key?versionId=%ff", "Version id"),
        (b"bkt/key?versionId=%f", "Version id"),
    ] {
        let error = source(value).unwrap_err();
        let shown = String::from_utf8_lossy(value);
        assert_eq!(error.code(), &Code::InvalidArgument, "{shown}");
        assert!(error.message().contains(words), "{shown}: {error}");
        assert!(error.fields().contains(&("ArgumentName", "x-amz-copy-source".to_owned())), "{shown}");
    }
    let long = [b"bkt/".to_vec(), vec![b'k'; 1025]].concat();
    assert_eq!(source(&long).unwrap_err().code(), &Code::InvalidArgument);
    assert!(source(&long[..long.len() - 1]).is_ok());
    for arn in [&b"arn:aws:s3:us-east-1:1:accesspoint/p/object/k"[..], b"/arn%3Aaws:s3:::bkt/k"] {
        assert_eq!(source(arn).unwrap_err().code(), &Code::NotImplemented);
    }
    let twice = headers(&[("x-amz-copy-source", b"bkt/a"), ("x-amz-copy-source", b"bkt/b")]);
    assert_eq!(CopySource::of(&twice).unwrap_err().code(), &Code::InvalidArgument);
    assert_eq!(CopySource::of(&HeaderMap::new()).unwrap_err().code(), &Code::InvalidArgument);
}

#[test]
fn ranges_have_both_ends() {
    let range =
        |value: &'static str| source_range(&headers(&[("x-amz-copy-source-range", value.as_bytes())]));
    assert_eq!(source_range(&HeaderMap::new()).unwrap(), None);
    assert_eq!(range("bytes=0-0").unwrap(), Some(0..1));
    assert_eq!(range("bytes=5-5242884").unwrap(), Some(5..5_242_885));
    for bad in [
        "",
        "bytes",
        "bytes=",
        "bytes=0",
        "bytes=0-",
        "bytes=-5",
        "bytes=2-1",
        "bytes=a-b",
        "bytes=0-1,3-4",
        "bytes=+0-1",
        "bytes=0- 1",
        "Bytes=0-1",
        "0-2",
        "items=0-1",
        "bytes=0-18446744073709551615",
        "bytes=0-99999999999999999999",
    ] {
        assert_eq!(range(bad).unwrap_err().code(), &Code::InvalidArgument, "{bad}");
    }
    assert_eq!(within(3..10, 10).unwrap(), 3..10);
    for (range, size) in [(3..10, 9), (0..1, 0), (10..11, 10)] {
        let error = within(range, size).unwrap_err();
        assert!(
            *error.code() == Code::InvalidArgument && error.message().ends_with(&format!("size: {size}"))
        );
    }
}

#[test]
fn conditions_are_those_of_the_source_alone() {
    const BEFORE: &[u8] = b"Wed, 21 Oct 2015 07:27:59 GMT";
    const AT: &[u8] = b"Wed, 21 Oct 2015 07:28:00 GMT";
    let source = Info {
        nature: Nature::Plain,
        plain_size: 1,
        sealed_len: 1,
        etag: "e".to_owned(),
        backend_etag: "backend".to_owned(),
        last_modified: httpdate::parse_http_date(std::str::from_utf8(AT).unwrap()).ok(),
        whole: true,
    };
    let check = |pairs: &[(&'static str, &[u8])]| check_source(&headers(pairs), &source);
    const MATCH: &str = "x-amz-copy-source-if-match";
    const NONE: &str = "x-amz-copy-source-if-none-match";
    const SINCE: &str = "x-amz-copy-source-if-modified-since";
    const UNTIL: &str = "x-amz-copy-source-if-unmodified-since";
    for good in [
        &[][..],
        &[(MATCH, &b"\"e\""[..])],
        &[(MATCH, b"*")],
        &[(MATCH, b"e"), (UNTIL, BEFORE)],
        &[(NONE, b"\"x\"")],
        &[(NONE, b"x"), (SINCE, AT)],
        &[(SINCE, BEFORE)],
        &[(UNTIL, AT)],
        // Those of the destination are not the source's.
        &[("if-match", b"x"), ("if-none-match", b"*")],
    ] {
        assert!(check(good).is_ok(), "{good:?}");
    }
    for bad in [
        &[(MATCH, &b"\"x\""[..])][..],
        &[(MATCH, b"backend")],
        &[(MATCH, b"W/\"e\"")],
        &[(NONE, b"\"e\"")],
        &[(NONE, b"*")],
        &[(NONE, b"e"), (SINCE, BEFORE)],
        &[(SINCE, AT)],
        &[(UNTIL, BEFORE)],
    ] {
        assert_eq!(check(bad).unwrap_err().code(), &Code::PreconditionFailed, "{bad:?}");
    }
    // Of no known age, it counts as just written.
    let ageless = Info { last_modified: None, ..source.clone() };
    assert!(check_source(&headers(&[(UNTIL, AT)]), &ageless).is_err());
    assert!(check_source(&headers(&[(SINCE, AT)]), &ageless).is_ok());
}

#[test]
fn directives_are_two_words() {
    use Directive::{Copy, Replace};
    const METADATA: &str = "x-amz-metadata-directive";
    const TAGGING: &str = "x-amz-tagging-directive";
    let of = |pairs: &[(&'static str, &[u8])]| Directives::of(&headers(pairs));
    assert_eq!(of(&[]).unwrap(), Directives { metadata: Copy, tagging: Copy });
    assert_eq!(of(&[(METADATA, b"REPLACE")]).unwrap(), Directives { metadata: Replace, tagging: Copy });
    let both = of(&[(METADATA, b"COPY"), (TAGGING, b"REPLACE")]).unwrap();
    assert_eq!(both, Directives { metadata: Copy, tagging: Replace });
    for bad in [&b""[..], b"copy", b"Replace", b"BOTH"] {
        for name in [METADATA, TAGGING] {
            assert_eq!(of(&[(name, bad)]).unwrap_err().code(), &Code::InvalidArgument, "{bad:?}");
        }
    }
}
