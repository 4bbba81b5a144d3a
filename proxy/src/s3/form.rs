//! `multipart/form-data` as browsers and S3 clients send it: the fields before the file, and where the file begins
//! (<https://docs.aws.amazon.com/AmazonS3/latest/API/RESTObjectPOST.html>). What the fields mean is decided elsewhere.

use http::HeaderMap;
use http::header::CONTENT_TYPE;

use crate::error::{Code, Error, Result};

/// S3's limit on everything before the file.
const MAX_FIELDS: usize = 20 * 1024;
/// RFC 2046: 1 to 70 characters.
const MAX_BOUNDARY: usize = 70;

/// What stands between the parts of a form.
#[derive(Debug)]
pub struct Boundary {
    /// `\r\n--` and the boundary.
    delimiter: Vec<u8>,
}

impl Boundary {
    /// The boundary that a request's content type names.
    ///
    /// # Errors
    /// Where it names none that can be one.
    pub fn of(headers: &HeaderMap) -> Result<Self> {
        let named =
            headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).and_then(|v| parameter(v, "boundary"));
        match named {
            Some(text)
                if (1..=MAX_BOUNDARY).contains(&text.len())
                    && text.bytes().all(|b| b.is_ascii_graphic() || b == b' ') =>
            {
                Ok(Self { delimiter: format!("\r\n--{text}").into_bytes() })
            }
            _ => Err(malformed("its Content-Type names no boundary")),
        }
    }

    /// What stands before each part but the first.
    pub fn delimiter(&self) -> &[u8] {
        &self.delimiter
    }

    /// What ends a form whose file is its last part.
    pub fn closing(&self) -> Vec<u8> {
        [&self.delimiter, &b"--\r\n"[..]].concat()
    }
}

/// The fields before the file. No Debug: they hold a signature, and may hold a customer's key.
pub struct Form {
    /// Lower-case names, in the order of the form.
    fields: Vec<(String, String)>,
}

impl Form {
    /// The form whose beginning `bytes` are, and how many of them stand before its file. `None`: the file has not begun.
    ///
    /// # Errors
    /// Where it is no form, or has no file, or too much before it.
    pub fn parse(bytes: &[u8], boundary: &Boundary) -> Result<Option<(Self, usize)>> {
        let parsed = Self::parse_fields(bytes, boundary)?;
        let before = parsed.as_ref().map_or(bytes.len(), |(_, at)| *at);
        if before > MAX_FIELDS {
            return Err(Error::client(
                Code::MaxPostPreDataLengthExceeded,
                "Your POST request fields preceding the upload file were too large.",
            ));
        }
        Ok(parsed)
    }

    fn parse_fields(bytes: &[u8], boundary: &Boundary) -> Result<Option<(Self, usize)>> {
        // The first delimiter has no line before it to end.
        let first = &boundary.delimiter[2..];
        if bytes.len() < first.len() && first.starts_with(bytes) {
            return Ok(None);
        }
        if !bytes.starts_with(first) {
            return Err(malformed("it does not begin with its boundary"));
        }
        let mut fields: Vec<(String, String)> = Vec::new();
        let mut at = first.len();
        loop {
            match bytes.get(at..at + 2) {
                None => return Ok(None),
                Some(b"\r\n") => at += 2,
                Some(b"--") => return Err(no_file()),
                Some(_) => return Err(malformed("a boundary in it is not a line of its own")),
            }
            let Some(end) = find(&bytes[at..], b"\r\n\r\n") else { return Ok(None) };
            let part = Part::parse(&bytes[at..at + end])?;
            at += end + 4;
            if part.name == "file" {
                // What the client calls the file, without folders. The policy is held against the key that comes of it.
                let filename = part.filename.unwrap_or_default();
                let filename = filename.rsplit(['/', '\\']).next().unwrap_or_default();
                for (_, value) in fields.iter_mut().filter(|(name, _)| name == "key") {
                    *value = value.replace("${filename}", filename);
                }
                return Ok(Some((Self { fields }, at)));
            }
            let Some(end) = find(&bytes[at..], &boundary.delimiter) else { return Ok(None) };
            let value = std::str::from_utf8(&bytes[at..at + end])
                .map_err(|_| malformed("the value of a field is not UTF-8"))?;
            if fields.iter().any(|(name, _)| *name == part.name) {
                return Err(malformed("a field stands in it twice"));
            }
            fields.push((part.name, value.to_owned()));
            at += end + boundary.delimiter.len();
        }
    }

    /// The value of a field, by its name in lower case.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// All fields: lower-case name and value.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.fields.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// What the head of a part says.
struct Part {
    name: String,
    filename: Option<String>,
}

impl Part {
    fn parse(head: &[u8]) -> Result<Self> {
        let text = std::str::from_utf8(head).map_err(|_| malformed("the head of a part is not UTF-8"))?;
        let disposition = text
            .split("\r\n")
            .filter_map(|line| line.split_once(':'))
            .find(|(name, _)| name.eq_ignore_ascii_case("content-disposition"))
            .map(|(_, value)| value.trim())
            .filter(|value| value.get(..9).is_some_and(|kind| kind.eq_ignore_ascii_case("form-data")))
            .ok_or_else(|| malformed("a part of it has no Content-Disposition: form-data"))?;
        let name = parameter(disposition, "name").ok_or_else(|| malformed("a part of it has no name"))?;
        Ok(Self { name: name.to_ascii_lowercase(), filename: parameter(disposition, "filename") })
    }
}

/// A parameter of a header's value, in quotes or not.
fn parameter(value: &str, wanted: &str) -> Option<String> {
    let mut rest = value.split_once(';')?.1;
    loop {
        let (name, after) = rest.split_once('=')?;
        let (text, left) = match after.strip_prefix('"') {
            None => {
                let end = after.find(';').unwrap_or(after.len());
                (after[..end].trim().to_owned(), &after[end..])
            }
            Some(quoted) => unquoted(quoted)?,
        };
        if name.trim().eq_ignore_ascii_case(wanted) {
            return Some(text);
        }
        rest = left.trim_start().strip_prefix(';')?;
    }
}

/// Text up to its closing quote, and what follows. A backslash escapes quotes and itself alone: some browsers send folders
/// with it.
fn unquoted(quoted: &str) -> Option<(String, &str)> {
    let mut text = String::new();
    let mut characters = quoted.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((text, &quoted[at + 1..])),
            '\\' => match characters.next_if(|(_, next)| matches!(next, '"' | '\\')) {
                Some((_, escaped)) => text.push(escaped),
                None => text.push('\\'),
            },
            other => text.push(other),
        }
    }
    None
}

/// Where `needle` first stands.
pub fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

/// A form that is none.
pub fn malformed(why: &str) -> Error {
    Error::client(
        Code::MalformedPostRequest,
        format!("The body of your POST request is not well-formed multipart/form-data: {why}."),
    )
}

fn no_file() -> Error {
    Error::client(Code::InvalidArgument, "POST requires exactly one file upload per request.")
        .field("ArgumentName", "file")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boundary(value: &str) -> Result<Boundary> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, value.parse().unwrap());
        Boundary::of(&headers)
    }

    const GOOD: &str = "--B\r\nContent-Disposition: form-data; name=\"Key\"\r\n\r\nuser/${filename}\r\n--B\r\n\
                        content-disposition: form-data; name=acl\r\nX: y\r\n\r\n\r\n--B\r\n\
                        Content-Disposition: form-data; name=\"file\"; filename=\"C:\\dir\\a \\\"b;c.txt\"\r\n\
                        Content-Type: text/plain\r\n\r\ndata\r\n--B--\r\n";

    #[test]
    fn fields_and_file_are_found_in_any_split() {
        let boundary = boundary("multipart/form-data; charset=x; boundary=\"B\"").unwrap();
        let start = GOOD.find("data\r\n--B--").unwrap();
        for cut in 0..GOOD.len() {
            let parsed = Form::parse(&GOOD.as_bytes()[..cut], &boundary).unwrap();
            assert_eq!(parsed.as_ref().map(|(_, at)| *at), (cut >= start).then_some(start), "{cut}");
        }
        let (form, _) = Form::parse(GOOD.as_bytes(), &boundary).unwrap().unwrap();
        assert_eq!(form.get("key"), Some("user/a \"b;c.txt"));
        assert_eq!((form.get("acl"), form.get("file"), form.iter().count()), (Some(""), None, 2));
        assert_eq!(boundary.closing(), b"\r\n--B--\r\n");
    }

    #[test]
    fn what_is_no_form_is_refused() {
        for bad in [
            "multipart/form-data",
            "multipart/form-data; boundary=",
            "multipart/form-data; boundary=\"a\tb\"",
        ] {
            assert!(boundary(bad).is_err(), "{bad}");
        }
        assert!(boundary(&format!("multipart/form-data; boundary={}", "b".repeat(71))).is_err());
        let boundary = boundary("multipart/form-data; boundary=B").unwrap();
        let code = |text: &str| Form::parse(text.as_bytes(), &boundary).err().map(|e| e.code().clone());
        for bad in [
            "x",
            "--C\r\n",
            "--Bx\r\n",
            "--B\r\nContent-Disposition: attachment; name=a\r\n\r\n",
            "--B\r\nContent-Disposition: form-data\r\n\r\n",
            "--B\r\nContent-Type: form-data; name=a\r\n\r\n",
        ] {
            assert_eq!(code(bad), Some(Code::MalformedPostRequest), "{bad}");
        }
        let twice = GOOD.replacen("name=acl", "name=KEY", 1);
        assert_eq!(code(&twice), Some(Code::MalformedPostRequest));
        assert_eq!(code("--B--\r\n"), Some(Code::InvalidArgument));
        let long = format!("--B\r\nContent-Disposition: form-data; name=a\r\n\r\n{}", "x".repeat(MAX_FIELDS));
        assert_eq!(code(&long), Some(Code::MaxPostPreDataLengthExceeded));
    }
}
