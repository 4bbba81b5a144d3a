//! Conditions of GET and HEAD, and of the source of a copy.

use std::time::SystemTime;

use http::header::{IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE};
use http::{HeaderMap, HeaderName};

use super::tag::TagList;
use crate::error::{Code, Error};

/// The conditions of one read.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ReadConditions {
    /// `If-Match`
    pub if_match: Option<TagList>,
    /// `If-None-Match`
    pub if_none_match: Option<TagList>,
    /// `If-Modified-Since`; a date that does not parse is no condition.
    pub if_modified_since: Option<SystemTime>,
    /// `If-Unmodified-Since`; likewise.
    pub if_unmodified_since: Option<SystemTime>,
    /// `If-Range`
    pub if_range: Option<IfRange>,
    source: bool,
}

/// What `Range` depends on.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum IfRange {
    /// A tag, compared strongly.
    Tags(TagList),
    /// A date, which has to be the object's own.
    Date(SystemTime),
}

/// What to do with a read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// Answer it; `Range` only counts if `honour_range`.
    Proceed {
        /// `If-Range` holds, or there is none.
        honour_range: bool,
    },
    /// 304.
    NotModified,
    /// 412, with the header that failed.
    PreconditionFailed(&'static str),
}

impl ReadConditions {
    /// Those of a GET or HEAD.
    pub fn of(headers: &HeaderMap) -> Self {
        // What lists nothing matches nothing: the whole object is always right.
        let if_range = date(headers, &IF_RANGE)
            .map(IfRange::Date)
            .or_else(|| TagList::from_header(headers, &IF_RANGE).map(IfRange::Tags));
        Self {
            if_match: TagList::from_header(headers, &IF_MATCH),
            if_none_match: TagList::from_header(headers, &IF_NONE_MATCH),
            if_modified_since: date(headers, &IF_MODIFIED_SINCE),
            if_unmodified_since: date(headers, &IF_UNMODIFIED_SINCE),
            if_range,
            source: false,
        }
    }

    /// Those on the source of CopyObject and UploadPartCopy (`x-amz-copy-source-if-*`). There S3 answers 412 where
    /// a GET gets 304.
    pub fn of_copy_source(headers: &HeaderMap) -> Self {
        let name = HeaderName::from_static;
        Self {
            if_match: TagList::from_header(headers, &name("x-amz-copy-source-if-match")),
            if_none_match: TagList::from_header(headers, &name("x-amz-copy-source-if-none-match")),
            if_modified_since: date(headers, &name("x-amz-copy-source-if-modified-since")),
            if_unmodified_since: date(headers, &name("x-amz-copy-source-if-unmodified-since")),
            if_range: None,
            source: true,
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        *self == Self { source: self.source, ..Self::default() }
    }

    /// Whether a younger Last-Modified could turn a yes, or a range, into something else.
    pub fn allow_until_a_date(&self) -> bool {
        self.if_unmodified_since.is_some() || matches!(self.if_range, Some(IfRange::Date(_)))
    }

    /// Decides on an object that exists. `etag` is the one that clients see, unquoted.
    ///
    /// Order (RFC 9110 13.2.2, as S3 applies it): a true If-Match beats If-Unmodified-Since, a false If-None-Match
    /// beats If-Modified-Since, and Range comes last.
    pub fn evaluate(&self, etag: &str, last_modified: SystemTime) -> Verdict {
        let failed = |plain, source| Verdict::PreconditionFailed(if self.source { source } else { plain });
        match &self.if_match {
            Some(tags) if !tags.matches_strongly(etag) => {
                return failed("If-Match", "x-amz-copy-source-if-match");
            }
            Some(_) => {}
            None if self.if_unmodified_since.is_some_and(|date| seconds(last_modified) > seconds(date)) => {
                return failed("If-Unmodified-Since", "x-amz-copy-source-if-unmodified-since");
            }
            None => {}
        }
        let unchanged = match &self.if_none_match {
            Some(tags) => tags.matches_weakly(etag).then_some("x-amz-copy-source-if-none-match"),
            None => self
                .if_modified_since
                .is_some_and(|date| seconds(last_modified) <= seconds(date))
                .then_some("x-amz-copy-source-if-modified-since"),
        };
        match unchanged {
            Some(condition) if self.source => return Verdict::PreconditionFailed(condition),
            Some(_) => return Verdict::NotModified,
            None => {}
        }
        let honour_range = match &self.if_range {
            None => true,
            Some(IfRange::Tags(tags)) => tags.matches_strongly(etag),
            Some(IfRange::Date(date)) => seconds(*date) == seconds(last_modified),
        };
        Verdict::Proceed { honour_range }
    }
}

/// The 412 that names the condition.
pub(super) fn failed(condition: &str) -> Error {
    Error::client(Code::PreconditionFailed, "At least one of the pre-conditions you specified did not hold")
        .field("Condition", condition)
}

impl Verdict {
    /// `Ok(honour_range)`, or the error to answer with; the 304 lacks the headers that only the handler knows.
    pub fn into_result(self) -> Result<bool, Error> {
        match self {
            Self::Proceed { honour_range } => Ok(honour_range),
            Self::NotModified => Err(Error::client(Code::NotModified, "Not Modified")),
            Self::PreconditionFailed(condition) => Err(failed(condition)),
        }
    }
}

fn date(headers: &HeaderMap, name: &HeaderName) -> Option<SystemTime> {
    httpdate::parse_http_date(headers.get(name)?.to_str().ok()?.trim()).ok()
}

/// HTTP dates have whole seconds; an object's time may have more.
fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::HeaderValue;

    use super::*;

    const BEFORE: &str = "Wed, 21 Oct 2015 07:27:59 GMT";
    const AT: &str = "Wed, 21 Oct 2015 07:28:00 GMT";
    const AFTER: &str = "Wed, 21 Oct 2015 07:28:01 GMT";

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_str(v).unwrap())).collect()
    }

    fn verdict(pairs: &[(&'static str, &str)]) -> Verdict {
        let modified = httpdate::parse_http_date(AT).unwrap() + Duration::from_millis(700);
        ReadConditions::of(&headers(pairs)).evaluate("e", modified)
    }

    const PROCEED: Verdict = Verdict::Proceed { honour_range: true };

    #[test]
    fn tags_decide() {
        assert_eq!(verdict(&[]), PROCEED);
        assert_eq!(verdict(&[("if-match", "\"e\"")]), PROCEED);
        assert_eq!(verdict(&[("if-match", "*")]), PROCEED);
        assert_eq!(verdict(&[("if-match", "\"x\", e")]), PROCEED);
        assert_eq!(verdict(&[("if-match", "\"x\"")]), Verdict::PreconditionFailed("If-Match"));
        assert_eq!(verdict(&[("if-match", "W/\"e\"")]), Verdict::PreconditionFailed("If-Match"));
        assert_eq!(verdict(&[("if-none-match", "W/\"e\"")]), Verdict::NotModified);
        assert_eq!(verdict(&[("if-none-match", "*")]), Verdict::NotModified);
        assert_eq!(verdict(&[("if-none-match", "\"x\"")]), PROCEED);
        assert_eq!(verdict(&[("if-match", ",")]), Verdict::PreconditionFailed("If-Match"));
        assert_eq!(verdict(&[("if-none-match", ",")]), PROCEED);
    }

    #[test]
    fn dates_decide() {
        assert_eq!(verdict(&[("if-modified-since", BEFORE)]), PROCEED);
        assert_eq!(verdict(&[("if-modified-since", AT)]), Verdict::NotModified);
        assert_eq!(verdict(&[("if-modified-since", AFTER)]), Verdict::NotModified);
        assert_eq!(verdict(&[("if-modified-since", "yesterday")]), PROCEED);
        assert_eq!(
            verdict(&[("if-unmodified-since", BEFORE)]),
            Verdict::PreconditionFailed("If-Unmodified-Since")
        );
        assert_eq!(verdict(&[("if-unmodified-since", AT)]), PROCEED);
        assert_eq!(verdict(&[("if-unmodified-since", "yesterday")]), PROCEED);
    }

    #[test]
    fn tags_beat_dates() {
        assert_eq!(verdict(&[("if-match", "e"), ("if-unmodified-since", BEFORE)]), PROCEED);
        assert_eq!(verdict(&[("if-none-match", "x"), ("if-modified-since", AFTER)]), PROCEED);
        assert_eq!(verdict(&[("if-none-match", "e"), ("if-modified-since", BEFORE)]), Verdict::NotModified);
        assert_eq!(
            verdict(&[("if-match", "x"), ("if-none-match", "e")]),
            Verdict::PreconditionFailed("If-Match")
        );
    }

    #[test]
    fn if_range_decides_on_the_range_alone() {
        const WHOLE: Verdict = Verdict::Proceed { honour_range: false };
        assert_eq!(verdict(&[("if-range", "\"e\"")]), PROCEED);
        assert_eq!(verdict(&[("if-range", AT)]), PROCEED);
        for other in ["\"x\"", "W/\"e\"", "", BEFORE, AFTER] {
            assert_eq!(verdict(&[("if-range", other)]), WHOLE, "{other}");
        }
    }

    #[test]
    fn a_copy_source_gets_412_for_304() {
        let modified = httpdate::parse_http_date(AT).unwrap();
        let check = |pairs: &[(&'static str, &str)]| {
            ReadConditions::of_copy_source(&headers(pairs)).evaluate("e", modified)
        };
        assert_eq!(check(&[("if-none-match", "e")]), PROCEED);
        assert_eq!(
            check(&[("x-amz-copy-source-if-none-match", "e")]),
            Verdict::PreconditionFailed("x-amz-copy-source-if-none-match")
        );
        assert_eq!(
            check(&[("x-amz-copy-source-if-modified-since", AT)]),
            Verdict::PreconditionFailed("x-amz-copy-source-if-modified-since")
        );
        assert!(ReadConditions::of_copy_source(&HeaderMap::new()).is_empty());
        assert!(!ReadConditions::of(&headers(&[("if-range", "e")])).is_empty());
    }

    #[test]
    fn verdicts_become_answers() {
        assert!(PROCEED.into_result().unwrap());
        assert_eq!(Verdict::NotModified.into_result().unwrap_err().code().status(), 304);
        let error = Verdict::PreconditionFailed("If-Match").into_result().unwrap_err();
        assert_eq!(
            (error.code(), error.fields()),
            (&Code::PreconditionFailed, &[("Condition", "If-Match".to_owned())][..])
        );
    }
}
