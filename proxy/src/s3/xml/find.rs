//! Looks for one element in a client's document that is otherwise passed on unread.

use super::tokens::{Broken, Token, Tokens};
use crate::error::Result;

/// The text of the first element of that name, at any depth; empty where it has children, `None` where there is none
/// or the document is empty. MalformedXML for what is no XML.
pub fn first_text(document: &[u8], name: &str) -> Result<Option<String>> {
    if document.is_empty() {
        return Ok(None);
    }
    let mut tokens = Tokens::new(document);
    loop {
        match tokens.next().map_err(Broken::by_client)? {
            Token::Open(found) if found == name.as_bytes() => {
                let text = tokens.leaf().map_err(Broken::by_client)?;
                return Ok(Some(text.unwrap_or_default()));
            }
            Token::End => return Ok(None),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;

    #[test]
    fn elements_are_found_at_any_depth() {
        let document = b"<A><B>t</B><C><D>one</D><D>two</D><E><F/></E></C></A>";
        let found = |name| first_text(document, name).unwrap();
        assert_eq!(found("D").as_deref(), Some("one"));
        assert_eq!(found("E").as_deref(), Some(""));
        assert_eq!(found("A").as_deref(), Some(""));
        assert_eq!(found("G"), None);
        assert_eq!(first_text(b"", "A").unwrap(), None);
    }

    #[test]
    fn broken_documents_are_the_clients_fault() {
        for bad in ["<A>", "<A></B>", "x", "<!DOCTYPE a><A/>"] {
            assert_eq!(first_text(bad.as_bytes(), "G").unwrap_err().code(), &Code::MalformedXml, "{bad}");
        }
    }
}
