//! Headers that mean one thing: a request that says it twice is refused, since whoever reads the first and whoever reads the
//! last would do different things. What the values mean is read elsewhere.

use http::HeaderMap;
use http::header::{
    CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE, DATE, EXPIRES, IF_MODIFIED_SINCE, IF_RANGE,
    IF_UNMODIFIED_SINCE, RANGE,
};

use super::META_PREFIX;
use crate::error::{Code, Error, Result};

/// Beside those of S3.
const ONCE: [http::HeaderName; 9] = [
    CONTENT_DISPOSITION,
    CONTENT_LENGTH,
    CONTENT_TYPE,
    DATE,
    EXPIRES,
    IF_MODIFIED_SINCE,
    IF_RANGE,
    IF_UNMODIFIED_SINCE,
    RANGE,
];
const CONTENT_MD5: &str = "content-md5";
/// S3's own that are lists, which HTTP lets stand in several lines (RFC 9110 section 5.3).
const LISTS: [&str; 3] = ["x-amz-object-attributes", "x-amz-optional-object-attributes", "x-amz-trailer"];

/// Refuses a header that means one thing and stands there twice.
///
/// # Errors
/// InvalidArgument, by the header's name.
pub(in crate::s3) fn refuse_repeated(headers: &HeaderMap) -> Result<()> {
    for name in headers.keys() {
        let text = name.as_str();
        let own = text.starts_with("x-amz-") && !text.starts_with(META_PREFIX) && !LISTS.contains(&text);
        let once = own || text == CONTENT_MD5 || ONCE.contains(name);
        if once && headers.get_all(name).iter().nth(1).is_some() {
            return Err(Error::client(
                Code::InvalidArgument,
                format!("The header {text} stands in the request more than once. Send it once."),
            )
            .field("ArgumentName", text));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn twice(name: &'static str) -> HeaderMap {
        let name = HeaderName::from_static(name);
        ["a", "a"].map(|value| (name.clone(), HeaderValue::from_static(value))).into_iter().collect()
    }

    #[test]
    fn what_means_one_thing_is_said_once() {
        for name in [
            "range",
            "content-type",
            "content-md5",
            "if-range",
            "x-amz-server-side-encryption",
            "x-amz-decoded-content-length",
            "x-amz-acl",
        ] {
            let error = refuse_repeated(&twice(name)).unwrap_err();
            assert_eq!((error.code(), error.fields()[0].1.as_str()), (&Code::InvalidArgument, name));
            let once: HeaderMap =
                [(HeaderName::from_static(name), HeaderValue::from_static("a"))].into_iter().collect();
            assert!(refuse_repeated(&once).is_ok(), "{name}");
        }
    }

    #[test]
    fn lists_may_be_said_in_several_lines() {
        for name in [
            "if-match",
            "if-none-match",
            "cache-control",
            "content-encoding",
            "accept",
            "x-amz-meta-color",
            "x-amz-trailer",
            "x-amz-object-attributes",
            "x-forwarded-for",
        ] {
            assert!(refuse_repeated(&twice(name)).is_ok(), "{name}");
        }
    }
}
