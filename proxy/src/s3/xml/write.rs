//! Writes small XML documents as S3 writes them.

use super::NAMESPACE;

/// A document under construction. Elements that were opened are closed by [`Writer::close`] in reverse order.
#[derive(Debug)]
pub struct Writer {
    out: String,
    open: Vec<&'static str>,
}

impl Writer {
    /// A document whose root is in S3's namespace.
    pub fn new(root: &'static str) -> Self {
        let mut writer = Self::bare(root);
        writer.out.truncate(writer.out.len() - 1);
        writer.out.push_str(" xmlns=\"");
        writer.out.push_str(NAMESPACE);
        writer.out.push_str("\">");
        writer
    }

    /// A document without a namespace, as error bodies are.
    pub fn bare(root: &'static str) -> Self {
        let mut writer =
            Self { out: String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"), open: Vec::new() };
        writer.open(root);
        writer
    }

    /// `<name>`
    pub fn open(&mut self, name: &'static str) {
        self.tag("<", name);
        self.open.push(name);
    }

    /// Closes the innermost element.
    pub fn close(&mut self) {
        if let Some(name) = self.open.pop() {
            self.tag("</", name);
        }
    }

    /// `<name>text</name>`
    pub fn text(&mut self, name: &'static str, text: &str) {
        self.element(name, text);
    }

    /// As [`Writer::text`] for names that are data.
    pub fn element(&mut self, name: &str, text: &str) {
        self.tag("<", name);
        escape(text, &mut self.out);
        self.tag("</", name);
    }

    /// Closes what is open and gives the document.
    pub fn finish(mut self) -> String {
        while !self.open.is_empty() {
            self.close();
        }
        self.out
    }

    fn tag(&mut self, bracket: &str, name: &str) {
        self.out.push_str(bracket);
        self.out.push_str(name);
        self.out.push('>');
    }
}

/// Escapes character data: markup, and control characters as references, since S3's keys may hold them (XML 1.0
/// has no other way to write them, and a literal CR would read as LF).
pub(crate) fn escape(text: &str, out: &mut String) {
    let plain = |b: u8| matches!(b, b' '..=b'~') && !matches!(b, b'&' | b'<' | b'>' | b'"');
    if text.bytes().all(plain) {
        // Most text is.
        out.push_str(text);
        return;
    }
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\t' | '\n' => out.push(character),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => {
                out.push_str(&format!("&#x{:x};", u32::from(c)));
            }
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tokens::Tokens;
    use super::*;

    #[test]
    fn documents_nest_and_escape() {
        let mut writer = Writer::new("A");
        writer.open("B");
        writer.text("C", "<&>\"'\r\u{1}\n");
        writer.close();
        writer.open("D");
        assert_eq!(
            writer.finish(),
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<A xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><B>\
             <C>&lt;&amp;&gt;&quot;'&#xd;&#x1;\n</C></B><D></D></A>"
        );
    }

    proptest::proptest! {
        #[test]
        fn whatever_is_written_reads_back(text in "[\\x01-\\x7f\u{80}-\u{10ffff}]{0,40}") {
            let mut writer = Writer::bare("A");
            writer.text("B", &text);
            let document = writer.finish();
            let mut tokens = Tokens::new(document.as_bytes());
            tokens.root("A").unwrap();
            tokens.child().unwrap();
            proptest::prop_assert_eq!(tokens.text().unwrap(), text);
        }
    }
}
