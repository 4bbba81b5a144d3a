//! Conditions of PUT, DELETE, CompleteMultipartUpload and of a copy's destination: translated for the backend, which
//! decides atomically, or decided here where the backend is known to ignore them.

use http::header::{IF_MATCH, IF_NONE_MATCH};
use http::{HeaderMap, HeaderValue};

use super::read::failed;
use super::tag::TagList;
use crate::error::{Code, Error, Result};
use crate::s3::etag::{quote, unquote};

/// Stands in for a client's tag that is not the current one. The client's own could be the MD5 of a plaintext, which
/// a backend must not learn; this is the MD5 of nothing known.
const NEVER: &str = "00000000000000000000000000000000";

/// The conditions of one write.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct WriteConditions {
    /// `If-Match`
    pub if_match: Option<TagList>,
    /// `If-None-Match`
    pub if_none_match: Option<TagList>,
}

/// The tags of the object that stands there now.
#[derive(Clone, Copy, Debug)]
pub struct Current<'a> {
    /// As clients see it, unquoted.
    pub etag: &'a str,
    /// The backend's, quoted or not.
    pub backend_etag: &'a str,
}

impl WriteConditions {
    /// Reads the headers.
    pub fn of(headers: &HeaderMap) -> Self {
        Self {
            if_match: TagList::from_header(headers, &IF_MATCH),
            if_none_match: TagList::from_header(headers, &IF_NONE_MATCH),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.if_match.is_none() && self.if_none_match.is_none()
    }

    /// Refuses an `If-None-Match` that puts the asterisk in quotes. It means `*` and would be a tag, which every object passes:
    /// an object would be written over that was to stay. S3 takes nothing but the bare asterisk on writes.
    pub fn check(&self) -> Result<()> {
        let Some(TagList::Tags(tags)) = &self.if_none_match else { return Ok(()) };
        if tags.iter().all(|tag| tag.text != "*") {
            return Ok(());
        }
        Err(Error::client(
            Code::NotImplemented,
            "A header you provided implies functionality that is not implemented: If-None-Match takes an asterisk without quotes.",
        )
        .field("Header", "If-None-Match"))
    }

    /// Whether [`translate`](Self::translate) needs the current object: there is a tag other than `*`.
    pub fn need_current(&self) -> bool {
        [&self.if_match, &self.if_none_match].into_iter().any(|list| matches!(list, Some(TagList::Tags(_))))
    }

    /// The conditions on the backend's tags: `*` as it is, the current client tag as the backend's own, any other as
    /// a constant that matches nothing. One tag a header: not every backend reads lists.
    pub fn translate(&self, current: Option<Current<'_>>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if let Some(list) = &self.if_match {
            let hit = |c: &Current<'_>| list.matches_strongly(c.etag);
            headers.insert(IF_MATCH, spelled(list, current.filter(hit)));
        }
        if let Some(list) = &self.if_none_match {
            let hit = |c: &Current<'_>| list.matches_weakly(c.etag);
            headers.insert(IF_NONE_MATCH, spelled(list, current.filter(hit)));
        }
        headers
    }

    /// Decides here, for a backend that ignores the condition. `current` is the tag that clients see, `None` where
    /// there is no object: then If-Match is NoSuchKey, as on S3.
    pub fn decide(&self, current: Option<&str>) -> Result<()> {
        match (&self.if_match, current) {
            (Some(_), None) => {
                return Err(Error::client(Code::NoSuchKey, "The specified key does not exist."));
            }
            (Some(list), Some(etag)) if !list.matches_strongly(etag) => return Err(failed("If-Match")),
            _ => {}
        }
        match (&self.if_none_match, current) {
            (Some(list), Some(etag)) if list.matches_weakly(etag) => Err(failed("If-None-Match")),
            _ => Ok(()),
        }
    }
}

fn spelled(list: &TagList, hit: Option<Current<'_>>) -> HeaderValue {
    let never =
        || HeaderValue::try_from(quote(NEVER)).expect("hex digits in quotes are a valid header value");
    match (list, hit) {
        (TagList::Any, _) => HeaderValue::from_static("*"),
        (TagList::Tags(_), Some(current)) => {
            HeaderValue::try_from(quote(unquote(current.backend_etag))).unwrap_or_else(|_| never())
        }
        (TagList::Tags(_), None) => never(),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    fn conditions(pairs: &[(&'static str, &str)]) -> WriteConditions {
        let headers: HeaderMap = pairs
            .iter()
            .map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_str(v).unwrap()))
            .collect();
        WriteConditions::of(&headers)
    }

    const CURRENT: Current<'static> = Current { etag: "plain-md5", backend_etag: "\"cipher\"" };

    fn sent(pairs: &[(&'static str, &str)], current: Option<Current<'_>>) -> Vec<(String, String)> {
        let headers = conditions(pairs).translate(current);
        let mut out: Vec<_> =
            headers.iter().map(|(n, v)| (n.to_string(), v.to_str().unwrap().to_owned())).collect();
        out.sort();
        out
    }

    fn one(name: &str, value: &str) -> Vec<(String, String)> {
        vec![(name.to_owned(), value.to_owned())]
    }

    #[test]
    fn the_current_tag_becomes_the_backends() {
        assert_eq!(sent(&[("if-match", "\"plain-md5\"")], Some(CURRENT)), one("if-match", "\"cipher\""));
        assert_eq!(sent(&[("if-match", "x, plain-md5")], Some(CURRENT)), one("if-match", "\"cipher\""));
        assert_eq!(
            sent(&[("if-none-match", "W/\"plain-md5\"")], Some(CURRENT)),
            one("if-none-match", "\"cipher\"")
        );
    }

    #[test]
    fn star_stays() {
        assert_eq!(sent(&[("if-none-match", "*")], None), one("if-none-match", "*"));
        assert_eq!(sent(&[("if-match", "*")], Some(CURRENT)), one("if-match", "*"));
        assert!(!conditions(&[("if-match", "*")]).need_current());
        assert!(conditions(&[("if-match", "x")]).need_current());
        assert!(sent(&[], Some(CURRENT)).is_empty());
        assert!(conditions(&[]).is_empty());
    }

    #[test]
    fn an_asterisk_in_quotes_is_no_tag() {
        for (value, fine) in [
            ("*", true),
            ("\"e\"", true),
            (",", true),
            ("\"*\"", false),
            ("W/\"*\"", false),
            ("\"e\", \"*\"", false),
        ] {
            let checked = conditions(&[("if-none-match", value)]).check();
            assert_eq!(
                checked.map_err(|e| e.code().clone()),
                if fine { Ok(()) } else { Err(Code::NotImplemented) }
            );
        }
        // There it matches nothing, and nothing is written.
        assert!(conditions(&[("if-match", "\"*\"")]).check().is_ok());
    }

    #[test]
    fn an_empty_list_is_a_condition() {
        let never = format!("\"{NEVER}\"");
        assert_eq!(sent(&[("if-match", ",")], Some(CURRENT)), one("if-match", &never));
        assert_eq!(
            conditions(&[("if-match", "")]).decide(Some("e")).unwrap_err().code(),
            &Code::PreconditionFailed
        );
        assert!(conditions(&[("if-none-match", ",")]).decide(Some("e")).is_ok());
    }

    #[test]
    fn a_clients_own_tag_is_never_sent() {
        let never = format!("\"{NEVER}\"");
        for current in [None, Some(CURRENT)] {
            for tag in ["\"5d41402abc4b2a76b9719d911017c592\"", "cipher", "W/\"other\""] {
                assert_eq!(sent(&[("if-match", tag)], current), one("if-match", &never));
                assert_eq!(sent(&[("if-none-match", tag)], current), one("if-none-match", &never));
            }
        }
        assert_eq!(sent(&[("if-match", "W/\"plain-md5\"")], Some(CURRENT)), one("if-match", &never));
    }

    #[test]
    fn decisions_here_are_those_of_s3() {
        let code = |pairs: &[(&'static str, &str)], current| {
            conditions(pairs).decide(current).map_err(|e| e.code().clone())
        };
        assert_eq!(code(&[("if-none-match", "*")], None), Ok(()));
        assert_eq!(code(&[("if-none-match", "*")], Some("e")), Err(Code::PreconditionFailed));
        assert_eq!(code(&[("if-none-match", "x")], Some("e")), Ok(()));
        assert_eq!(code(&[("if-match", "e")], Some("e")), Ok(()));
        assert_eq!(code(&[("if-match", "x")], Some("e")), Err(Code::PreconditionFailed));
        assert_eq!(code(&[("if-match", "*")], None), Err(Code::NoSuchKey));
        assert_eq!(code(&[], None), Ok(()));
    }
}
