//! Entity tags in `If-*` headers.

use http::{HeaderMap, HeaderName};

/// One tag, unquoted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Tag {
    /// What stands between the quotes.
    pub text: String,
    /// `W/"…"`.
    pub weak: bool,
}

/// The value of `If-Match` or `If-None-Match`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum TagList {
    /// `*`
    Any,
    /// Tags, of which there may be none: then nothing matches. Unquoted ones are accepted, as S3 does.
    Tags(Vec<Tag>),
}

impl TagList {
    /// Reads a header; `None` where it is absent. Several lines count as one list, and what is there and lists nothing is an
    /// empty list (RFC 9110 section 5.6.1.2): a client that asked for a condition is never taken for one that did not.
    pub fn from_header(headers: &HeaderMap, name: &HeaderName) -> Option<Self> {
        let mut tags = Vec::new();
        if !headers.contains_key(name) {
            return None;
        }
        for value in headers.get_all(name) {
            let text = String::from_utf8_lossy(value.as_bytes());
            if text.trim() == "*" {
                return Some(Self::Any);
            }
            tags.extend(split(&text));
        }
        Some(Self::Tags(tags))
    }

    /// Strong comparison: `If-Match`, `If-Range`. A weak tag matches nothing.
    pub fn matches_strongly(&self, etag: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Tags(tags) => tags.iter().any(|t| !t.weak && t.text == etag),
        }
    }

    /// Weak comparison: `If-None-Match`.
    pub fn matches_weakly(&self, etag: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Tags(tags) => tags.iter().any(|t| t.text == etag),
        }
    }
}

/// Splits a list at the commas outside quotes.
fn split(text: &str) -> Vec<Tag> {
    let mut tags = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if rest.is_empty() {
            return tags;
        }
        let (weak, body) = match rest.strip_prefix("W/") {
            Some(body) if body.starts_with('"') => (true, body),
            _ => (false, rest),
        };
        let quoted = body.strip_prefix('"').and_then(|inner| inner.split_once('"'));
        let (tag, after) = match quoted {
            Some(parts) => parts,
            None => {
                let end = body.find(',').unwrap_or(body.len());
                (body[..end].trim_end(), &body[end..])
            }
        };
        tags.push(Tag { text: tag.to_owned(), weak });
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use http::header::IF_MATCH;

    use super::*;

    fn list(values: &[&str]) -> Option<TagList> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(IF_MATCH, HeaderValue::from_str(value).unwrap());
        }
        TagList::from_header(&headers, &IF_MATCH)
    }

    fn strong(texts: &[&str]) -> Option<TagList> {
        Some(TagList::Tags(texts.iter().map(|t| Tag { text: (*t).to_owned(), weak: false }).collect()))
    }

    #[test]
    fn every_spelling_is_read() {
        assert_eq!(list(&[]), None);
        for empty in [&[""][..], &[","], &["", " , "]] {
            let none = list(empty);
            assert_eq!(none, strong(&[]));
            assert!(none.is_some_and(|none| !none.matches_strongly("") && !none.matches_weakly("")));
        }
        assert_eq!(list(&[" * "]), Some(TagList::Any));
        assert_eq!(list(&["\"*\""]), strong(&["*"]));
        assert_eq!(list(&["abc"]), strong(&["abc"]));
        assert_eq!(list(&["\"a,b\", c ,\"d\""]), strong(&["a,b", "c", "d"]));
        assert_eq!(list(&["\"a\"", "\"b\""]), strong(&["a", "b"]));
        assert_eq!(list(&["\"a"]), strong(&["\"a"]));
        assert_eq!(list(&["W/\"a\""]), Some(TagList::Tags(vec![Tag { text: "a".to_owned(), weak: true }])));
        assert_eq!(list(&["W/a"]), strong(&["W/a"]));
    }

    #[test]
    fn weak_tags_match_weakly_only() {
        let weak = list(&["W/\"a\""]).unwrap();
        assert!(weak.matches_weakly("a"));
        assert!(!weak.matches_strongly("a"));
        assert!(!weak.matches_weakly("b"));
        assert!(TagList::Any.matches_strongly("x") && TagList::Any.matches_weakly("x"));
        assert!(!list(&["\"A\""]).unwrap().matches_strongly("a"));
    }
}
