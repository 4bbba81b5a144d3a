//! The leaves of a backend's XML answer: element paths and their text. For the few small documents that the
//! backend's room itself reads; listings for clients are edited elsewhere.

use quick_xml::Reader;
use quick_xml::events::{BytesRef, Event};

/// Every element without children, in document order, as (`Root/Child/Leaf`, text). Namespaces are dropped; what
/// follows a syntax error is not read.
pub(super) fn leaves(body: &[u8]) -> Vec<(String, String)> {
    let mut reader = Reader::from_reader(body);
    let mut path: Vec<String> = Vec::new();
    let mut text = String::new();
    let mut is_leaf = false;
    let mut out = Vec::new();
    loop {
        match reader.read_event() {
            Ok(Event::Start(start)) => {
                path.push(String::from_utf8_lossy(start.local_name().as_ref()).into_owned());
                text.clear();
                is_leaf = true;
            }
            Ok(Event::Empty(start)) => {
                let name = String::from_utf8_lossy(start.local_name().as_ref()).into_owned();
                let parent = path.iter().map(|name| format!("{name}/")).collect::<String>();
                out.push((parent + &name, String::new()));
                is_leaf = false;
            }
            Ok(Event::Text(piece)) => text.push_str(&piece.decode().unwrap_or_default()),
            Ok(Event::GeneralRef(reference)) => text.push_str(&entity(&reference)),
            Ok(Event::CData(piece)) => text.push_str(&String::from_utf8_lossy(&piece)),
            Ok(Event::End(_)) => {
                if std::mem::take(&mut is_leaf) {
                    out.push((path.join("/"), std::mem::take(&mut text)));
                }
                path.pop();
            }
            Ok(Event::Eof) | Err(_) => return out,
            Ok(_) => {}
        }
    }
}

fn entity(reference: &BytesRef<'_>) -> String {
    if let Ok(Some(c)) = reference.resolve_char_ref() {
        return c.to_string();
    }
    let text = match &**reference {
        b"amp" => "&",
        b"lt" => "<",
        b"gt" => ">",
        b"quot" => "\"",
        b"apos" => "'",
        _ => "",
    };
    text.to_owned()
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
    }
}
