//! A pull reader over quick-xml for documents from strangers: no DTD, no entities but the five of XML, a bounded
//! depth, exactly one root, every element closed.

use std::borrow::Cow;

use quick_xml::events::Event;
use quick_xml::reader::Reader;

use crate::error::{Code, Error};

/// Deepest nesting that any S3 body has is 6.
const MAX_DEPTH: usize = 16;

/// Why a document is refused.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Broken(pub(crate) String);

impl Broken {
    pub(crate) fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }

    /// A client's document.
    pub(crate) fn by_client(self) -> Error {
        Error::client(
            Code::MalformedXml,
            "The XML you provided was not well-formed or did not validate against our published schema",
        )
        .because(self.0)
    }

    /// A backend's document.
    pub(crate) fn by_backend(self) -> Error {
        Error::backend(Code::BadGateway, "The storage backend sent a body that is not the XML of S3.")
            .because(self.0)
    }
}

/// One piece of a document.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Token<'a> {
    /// `<name …>`, without its namespace prefix. `<name/>` gives this and a [`Token::Close`].
    Open(&'a [u8]),
    /// `</name>`
    Close,
    /// Character data with references resolved; one text may come in several pieces. Bytes, since a backend's keys
    /// need not be UTF-8.
    Text(Cow<'a, [u8]>),
    /// The end of a whole document.
    End,
}

/// Reads tokens off a document in memory.
pub(crate) struct Tokens<'a> {
    document: &'a [u8],
    reader: Reader<&'a [u8]>,
    depth: usize,
    rooted: bool,
    /// Set by `<name/>`: its Close comes next.
    pending_close: bool,
    /// Length of a byte order mark at the front.
    mark: usize,
    /// Where the last token began.
    start: usize,
}

impl<'a> Tokens<'a> {
    pub(crate) fn new(document: &'a [u8]) -> Self {
        // Taken off here: the reader skips it without counting it.
        let mark = if document.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
        let mut reader = Reader::from_reader(&document[mark..]);
        reader.config_mut().check_end_names = true;
        Self { document, reader, depth: 0, rooted: false, pending_close: false, mark, start: 0 }
    }

    /// Offset of the first byte of the last token.
    pub(crate) fn start(&self) -> usize {
        self.start
    }

    /// Offset behind the last token.
    pub(crate) fn position(&self) -> usize {
        // A slice's length fits usize.
        self.mark + self.reader.buffer_position() as usize
    }

    /// Next token.
    pub(crate) fn next(&mut self) -> Result<Token<'a>, Broken> {
        if std::mem::take(&mut self.pending_close) {
            self.depth -= 1;
            self.start = self.position();
            return Ok(Token::Close);
        }
        loop {
            self.start = self.position();
            let event = self
                .reader
                .read_event()
                .map_err(|e| Broken::new(format!("{e} at byte {}", self.reader.error_position())))?;
            match event {
                Event::Start(_) => {
                    self.open()?;
                    return Ok(Token::Open(self.name()?));
                }
                Event::Empty(_) => {
                    self.open()?;
                    self.pending_close = true;
                    return Ok(Token::Open(self.name()?));
                }
                Event::End(_) => {
                    self.depth =
                        self.depth.checked_sub(1).ok_or_else(|| Broken::new("a closing tag too many"))?;
                    return Ok(Token::Close);
                }
                Event::Text(text) if self.depth > 0 => {
                    return Ok(Token::Text(normalise_lines(text.into_inner())));
                }
                Event::Text(text) => {
                    if !text.iter().all(|b| b.is_ascii_whitespace()) {
                        return Err(Broken::new("text outside the root element"));
                    }
                }
                Event::CData(data) if self.depth > 0 => {
                    return Ok(Token::Text(normalise_lines(data.into_inner())));
                }
                Event::GeneralRef(reference) if self.depth > 0 => {
                    return Ok(Token::Text(resolve(&reference)?));
                }
                Event::CData(_) | Event::GeneralRef(_) => {
                    return Err(Broken::new("text outside the root element"));
                }
                Event::DocType(_) => return Err(Broken::new("a document type is not allowed")),
                Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
                Event::Eof if self.depth == 0 && self.rooted => return Ok(Token::End),
                Event::Eof => return Err(Broken::new("the document ends early")),
            }
        }
    }

    /// Reads the root's opening tag, whose name it has to be.
    pub(crate) fn root(&mut self, name: &str) -> Result<(), Broken> {
        match self.next()? {
            Token::Open(found) if found == name.as_bytes() => Ok(()),
            _ => Err(Broken::new(format!("the root element is not {name}"))),
        }
    }

    /// Next child of the element that is open, or `None` behind its closing tag. Only white space may stand
    /// between children.
    pub(crate) fn child(&mut self) -> Result<Option<&'a [u8]>, Broken> {
        loop {
            match self.next()? {
                Token::Open(name) => return Ok(Some(name)),
                Token::Close | Token::End => return Ok(None),
                Token::Text(text) if text.iter().all(|b| b.is_ascii_whitespace()) => {}
                Token::Text(_) => return Err(Broken::new("text between elements")),
            }
        }
    }

    /// The text of the element that was just opened, up to and with its closing tag; no child may be in it.
    pub(crate) fn bytes(&mut self) -> Result<Cow<'a, [u8]>, Broken> {
        let mut whole: Cow<'a, [u8]> = Cow::Borrowed(b"");
        loop {
            match self.next()? {
                Token::Text(piece) if whole.is_empty() => whole = piece,
                Token::Text(piece) => join(&mut whole, &piece),
                Token::Close => return Ok(whole),
                Token::Open(_) | Token::End => return Err(Broken::new("an element where text belongs")),
            }
        }
    }

    /// As [`Tokens::str`], to keep.
    pub(crate) fn text(&mut self) -> Result<String, Broken> {
        self.str().map(Cow::into_owned)
    }

    /// As [`Tokens::bytes`], as UTF-8.
    pub(crate) fn str(&mut self) -> Result<Cow<'a, str>, Broken> {
        let text = match self.bytes()? {
            Cow::Borrowed(text) => std::str::from_utf8(text).map(Cow::Borrowed).ok(),
            Cow::Owned(text) => String::from_utf8(text).map(Cow::Owned).ok(),
        };
        text.ok_or_else(|| Broken::new("text that is not UTF-8"))
    }

    /// The text of the element that was just opened, `None` (and the element skipped) where it has children.
    pub(crate) fn leaf(&mut self) -> Result<Option<String>, Broken> {
        let mut whole = Vec::new();
        let mut leaf = true;
        loop {
            match self.next()? {
                Token::Text(piece) => whole.extend_from_slice(&piece),
                Token::Open(_) => {
                    leaf = false;
                    self.skip()?;
                }
                Token::Close => return Ok(leaf.then(|| String::from_utf8_lossy(&whole).into_owned())),
                Token::End => return Err(Broken::new("the document ends early")),
            }
        }
    }

    /// Skips the element that was just opened, with everything in it.
    pub(crate) fn skip(&mut self) -> Result<(), Broken> {
        let mut inner = 1_usize;
        while inner > 0 {
            match self.next()? {
                Token::Open(_) => inner += 1,
                Token::Close => inner -= 1,
                Token::Text(_) => {}
                Token::End => return Err(Broken::new("the document ends early")),
            }
        }
        Ok(())
    }

    /// Reads to the end of a document whose root was just closed.
    pub(crate) fn end(&mut self) -> Result<(), Broken> {
        match self.next()? {
            Token::End => Ok(()),
            _ => Err(Broken::new("something stands behind the root element")),
        }
    }

    fn open(&mut self) -> Result<(), Broken> {
        if self.depth == 0 && std::mem::replace(&mut self.rooted, true) {
            return Err(Broken::new("a second root element"));
        }
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(Broken::new("nested too deeply"));
        }
        Ok(())
    }

    /// Local name of the tag between `start` and `position`, borrowed from the document.
    fn name(&self) -> Result<&'a [u8], Broken> {
        let tag = self.document.get(self.start..self.position()).unwrap_or_default();
        let tag = tag.strip_prefix(b"<").ok_or_else(|| Broken::new("a tag that does not begin with <"))?;
        let mut begin = 0;
        for (at, byte) in tag.iter().enumerate() {
            match byte {
                b'>' | b'/' | b' ' | b'\t' | b'\n' | b'\r' | b'\x0c' => return Ok(&tag[begin..at]),
                b':' => begin = at + 1,
                _ => {}
            }
        }
        Ok(&tag[begin..])
    }
}

/// Appends a piece of text behind a reference, with room for what usually follows: the rest of a quoted tag.
fn join(whole: &mut Cow<'_, [u8]>, piece: &[u8]) {
    const TAG: usize = 48;
    if let Cow::Borrowed(first) = whole {
        let mut room = Vec::with_capacity((first.len() + piece.len()).max(TAG));
        room.extend_from_slice(first);
        *whole = Cow::Owned(room);
    }
    whole.to_mut().extend_from_slice(piece);
}

/// XML 1.0 section 2.11: a literal CR, or CR LF, reads as LF.
fn normalise_lines(text: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
    if !text.contains(&b'\r') {
        return text;
    }
    let mut out = Vec::with_capacity(text.len());
    for (at, &byte) in text.iter().enumerate() {
        match byte {
            b'\r' if text.get(at + 1) == Some(&b'\n') => {}
            b'\r' => out.push(b'\n'),
            other => out.push(other),
        }
    }
    Cow::Owned(out)
}

/// `lt`, `#65`, `#x41`; control characters too, as S3 and most backends write them.
fn resolve(reference: &[u8]) -> Result<Cow<'static, [u8]>, Broken> {
    let named: Option<&'static [u8]> = match reference {
        b"lt" => Some(b"<"),
        b"gt" => Some(b">"),
        b"amp" => Some(b"&"),
        b"quot" => Some(b"\""),
        b"apos" => Some(b"'"),
        _ => None,
    };
    if let Some(byte) = named {
        return Ok(Cow::Borrowed(byte));
    }
    let unknown = || Broken::new(format!("the reference &{};", String::from_utf8_lossy(reference)));
    let digits = reference
        .strip_prefix(b"#")
        .and_then(|d| std::str::from_utf8(d).ok())
        .filter(|d| !d.contains(['+', '-']))
        .ok_or_else(unknown)?;
    let number = match digits.strip_prefix('x') {
        Some(hexadecimal) => u32::from_str_radix(hexadecimal, 16),
        None => digits.parse(),
    };
    let character = number.ok().filter(|n| *n != 0).and_then(char::from_u32).ok_or_else(unknown)?;
    Ok(Cow::Owned(character.to_string().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(document: &[u8]) -> Result<Vec<String>, Broken> {
        let mut tokens = Tokens::new(document);
        let mut seen = Vec::new();
        loop {
            seen.push(match tokens.next()? {
                Token::Open(name) => format!("<{}", String::from_utf8_lossy(name)),
                Token::Close => ">".to_owned(),
                Token::Text(text) => String::from_utf8_lossy(&text).into_owned(),
                Token::End => return Ok(seen),
            });
        }
    }

    #[test]
    fn documents_are_read() {
        let document = "<?xml version=\"1.0\"?>\n<!-- c --><s3:A xmlns:s3='u'><B/><C >x&amp;&#x41;&#66;<![CDATA[<]]></C></s3:A>\n";
        let expected = ["<A", "<B", ">", "<C", "x", "&", "A", "B", "<", ">", ">"];
        assert_eq!(all(document.as_bytes()).unwrap(), expected);
    }

    #[test]
    fn text_keeps_its_white_space_and_bytes() {
        let mut tokens = Tokens::new(b"<A> a\r\nb\rc&#13; \xff</A>");
        tokens.root("A").unwrap();
        assert_eq!(&*tokens.bytes().unwrap(), b" a\nb\nc\r \xff");
        tokens.end().unwrap();
    }

    #[test]
    fn positions_are_those_of_the_document() {
        for document in [&b"<A><B>12</B></A>"[..], b"\xef\xbb\xbf<A><B>12</B></A>"] {
            let mut tokens = Tokens::new(document);
            tokens.root("A").unwrap();
            assert_eq!(tokens.child().unwrap(), Some(&b"B"[..]));
            let start = tokens.start();
            assert!(document[start..].starts_with(b"<B>"), "{document:?}");
            assert!(document[tokens.position()..].starts_with(b"12<"));
        }
    }

    #[test]
    fn broken_documents_are_refused() {
        let deep = "<A>".repeat(17) + &"</A>".repeat(17);
        for bad in [
            "",
            " ",
            "x",
            "<A>",
            "<A",
            "</A>",
            "<A></B>",
            "<A/><B/>",
            "<A/>x",
            "<A/>&amp;",
            "&amp;<A/>",
            "<A></A></A>",
            "<!DOCTYPE a [<!ENTITY x 'y'>]><A>&x;</A>",
            "<A>&x;</A>",
            "<A>&#0;</A>",
            "<A>&#xD800;</A>",
            "<A>&#+65;</A>",
            "<A>&</A>",
            "<A><![CDATA[x</A>",
            "<A><!-- </A>",
            &deep,
        ] {
            assert!(all(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(all(("<A>".repeat(16) + &"</A>".repeat(16)).as_bytes()).is_ok());
    }

    #[test]
    fn structure_is_held_to() {
        let mut tokens = Tokens::new(b"<A><B><C/></B>x</A>");
        assert!(tokens.root("Z").is_err());
        let mut tokens = Tokens::new(b"<A><B><C/></B>x</A>");
        tokens.root("A").unwrap();
        tokens.child().unwrap();
        assert!(tokens.text().is_err(), "a child where text belongs");
        let mut tokens = Tokens::new(b"<A><B><C/></B>x</A>");
        tokens.root("A").unwrap();
        tokens.child().unwrap();
        tokens.skip().unwrap();
        assert!(tokens.child().is_err(), "text between elements");
    }
}
