//! Trailing headers of an aws-chunked body
//! (<https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming-trailers.html>).

use crate::auth::canonical::sha256;
use crate::auth::parse_signature;
use crate::error::{Code, Error, Result};

/// White space around a header's name and value (RFC 9110 5.6.3), and what is left of a line's CRLF. Unicode's, which
/// `str::trim` takes off, has a vertical tab in it.
const BLANK: [char; 3] = [' ', '\t', '\r'];
const SIGNATURE: &str = "x-amz-trailer-signature";

/// What stood behind the last chunk. Its signature, if the form has one, has been verified.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Trailers {
    /// Lower-case names, trimmed values, in the order of the wire.
    fields: Vec<(String, String)>,
    signature: Option<String>,
}

impl Trailers {
    /// Value of a trailing header, by its lower-case name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// All of them but the signature.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.fields.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Reads everything that stood behind the line of the last chunk. Clients end its lines in CRLF, LF or both, and
    /// put empty lines before, between and behind them; where it ends is known from the end of the body.
    pub(super) fn parse(raw: &[u8], declared: &[String], allowed: bool) -> Result<Self> {
        let mut trailers = Self::default();
        for line in raw.split(|b| *b == b'\n') {
            let text =
                std::str::from_utf8(line).map_err(|_| malformed("it is not text"))?.trim_matches(BLANK);
            if text.is_empty() {
                continue;
            }
            let (name, value) = text.split_once(':').ok_or_else(|| malformed("a line of it has no colon"))?;
            let (name, value) = (name.trim_matches(BLANK).to_ascii_lowercase(), value.trim_matches(BLANK));
            if trailers.signature.is_some() {
                return Err(malformed("something follows its signature"));
            }
            if name == SIGNATURE {
                trailers.signature = Some(value.to_owned());
            } else if !declared.contains(&name) {
                return Err(malformed("it holds a header that x-amz-trailer does not name"));
            } else if trailers.get(&name).is_some() {
                return Err(malformed("a header stands in it twice"));
            } else {
                trailers.fields.push((name, value.to_owned()));
            }
        }
        if !allowed && trailers != Self::default() {
            return Err(malformed("this form of x-amz-content-sha256 has none"));
        }
        if allowed && declared.iter().any(|name| trailers.get(name).is_none()) {
            return Err(malformed("a header that x-amz-trailer names is missing"));
        }
        Ok(trailers)
    }

    pub(super) fn signature(&self) -> Option<[u8; 32]> {
        parse_signature(self.signature.as_ref()?.as_bytes())
    }

    /// Of the canonical trailing headers: `name:value\n` each.
    pub(super) fn sha256(&self) -> [u8; 32] {
        let text: String = self.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        sha256(text.as_bytes())
    }
}

pub(super) fn malformed(why: &str) -> Error {
    Error::client(
        Code::MalformedTrailer,
        format!("The trailer of the request body is not well-formed: {why}."),
    )
}
