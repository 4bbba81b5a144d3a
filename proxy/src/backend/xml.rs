//! The leaves of a backend's XML answer: element paths and their text. For the few small documents that the
//! backend's room itself reads; listings for clients are edited elsewhere.

use crate::s3::xml::{Token, Tokens};

/// Every element without children, in document order, as (`Root/Child/Leaf`, text). Namespaces are dropped; what
/// follows a syntax error is not read.
pub(super) fn leaves(body: &[u8]) -> Vec<(String, String)> {
    let mut tokens = Tokens::new(body);
    let mut path: Vec<String> = Vec::new();
    let mut text = Vec::new();
    let mut is_leaf = false;
    let mut out = Vec::new();
    loop {
        match tokens.next() {
            Ok(Token::Open(name)) => {
                path.push(String::from_utf8_lossy(name).into_owned());
                text.clear();
                is_leaf = true;
            }
            Ok(Token::Text(piece)) => text.extend_from_slice(&piece),
            Ok(Token::Close) => {
                if std::mem::take(&mut is_leaf) {
                    out.push((path.join("/"), String::from_utf8_lossy(&text).into_owned()));
                }
                path.pop();
            }
            Ok(Token::End) | Err(_) => return out,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::leaves;

    #[test]
    fn leaves_come_with_their_paths() {
        let xml = b"<?xml version='1.0'?><a xmlns='urn:x'><b>1 &amp; &#x32;</b><n:c xmlns:n='u'><d/></n:c><b></b></a>";
        let found = leaves(xml);
        let want = [("a/b", "1 & 2"), ("a/c/d", ""), ("a/b", "")];
        assert_eq!(found, want.map(|(path, text)| (path.to_owned(), text.to_owned())));
    }

    #[test]
    fn garbage_gives_what_stood_before_it() {
        assert_eq!(leaves(b"<a><b>1</b><c"), [("a/b".to_owned(), "1".to_owned())]);
        assert!(leaves(b"\xff\x00 not xml").is_empty());
        assert!(leaves(b"<!DOCTYPE html><Error><Code>NoSuchKey</Code></Error>").is_empty());
        assert_eq!(leaves(b"<a><b>&unknown;</b><c>2</c></a>"), []);
    }
}
