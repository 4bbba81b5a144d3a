//! A query string as decoded bytes, in the order of the client, and its canonical encoding.
//! Which parameters mean what is decided in `operation.rs` and `auth/`.

use std::borrow::Cow;

use percent_encoding::percent_decode;

use super::name::encode_component;

/// Decoded query parameters. `a` and `a=` differ only in [`Param::value`] being `None` or empty.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Query(Vec<Param>);

/// One `name` or `name=value`, percent-decoded. `+` is a plus sign, as in S3.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Param {
    /// Decoded name.
    pub name: Vec<u8>,
    /// Decoded value, `None` where there was no `=`.
    pub value: Option<Vec<u8>>,
}

impl Query {
    /// Parses what stands after `?`. Never fails: a broken escape stays as it is, as on AWS.
    pub fn parse(raw: &str) -> Self {
        let decode = |s: &str| Cow::from(percent_decode(s.as_bytes())).into_owned();
        Self(
            raw.split('&')
                .filter(|piece| !piece.is_empty())
                .map(|piece| match piece.split_once('=') {
                    Some((name, value)) => Param { name: decode(name), value: Some(decode(value)) },
                    None => Param { name: decode(piece), value: None },
                })
                .collect(),
        )
    }

    /// First value of `name`; an absent `=` reads as empty.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.0.iter().find(|p| p.name == name.as_bytes()).map(|p| p.value.as_deref().unwrap_or_default())
    }

    /// First value of `name`, if it is UTF-8.
    pub fn get_str(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(|v| std::str::from_utf8(v).ok())
    }

    /// Whether the name is there, with or without a value.
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Adds a parameter with a value.
    pub fn push(&mut self, name: &str, value: impl Into<Vec<u8>>) {
        self.0.push(Param { name: name.as_bytes().to_vec(), value: Some(value.into()) });
    }

    /// Adds a subresource without a value.
    pub fn push_flag(&mut self, name: &str) {
        self.0.push(Param { name: name.as_bytes().to_vec(), value: None });
    }

    /// Replaces every occurrence of `name` by one, or adds it.
    pub fn set(&mut self, name: &str, value: impl Into<Vec<u8>>) {
        self.remove(name);
        self.push(name, value);
    }

    /// Removes every occurrence of `name`.
    pub fn remove(&mut self, name: &str) {
        self.0.retain(|p| p.name != name.as_bytes());
    }

    /// Keeps what the predicate accepts.
    pub fn retain(&mut self, keep: impl FnMut(&Param) -> bool) {
        self.0.retain(keep);
    }

    /// All parameters in order.
    pub fn iter(&self) -> impl Iterator<Item = &Param> {
        self.0.iter()
    }

    /// Whether nothing is there.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// SigV4's canonical query: encoded, sorted, `name=` for flags. It is also what goes on the wire, so that
    /// what is signed is what is sent.
    pub fn canonical(&self) -> String {
        let mut pairs: Vec<(String, String)> = self
            .0
            .iter()
            .map(|p| (encode_component(&p.name), encode_component(p.value.as_deref().unwrap_or_default())))
            .collect();
        pairs.sort();
        let length = pairs.iter().map(|(name, value)| name.len() + value.len() + 2).sum();
        let mut out = String::with_capacity(length);
        for (name, value) in &pairs {
            if !out.is_empty() {
                out.push('&');
            }
            out.push_str(name);
            out.push('=');
            out.push_str(value);
        }
        out
    }
}

/// A number as requests write one: digits alone, without the sign that Rust would take.
pub fn number<T: std::str::FromStr>(text: &str) -> Option<T> {
    Some(text).filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_form_sorts_and_encodes() {
        let q = Query::parse("b=2&a=x+y&acl&a=%2f&&c=a%20b");
        assert_eq!(q.canonical(), "a=%2F&a=x%2By&acl=&b=2&c=a%20b");
        assert_eq!(q.get("acl"), Some(&b""[..]));
        assert_eq!(q.get_str("a"), Some("x+y"));
        assert!(!q.has("d"));
    }

    #[test]
    fn set_replaces_all() {
        let mut q = Query::parse("a=1&a=2");
        q.set("a", "3");
        assert_eq!(q.canonical(), "a=3");
    }

    #[test]
    fn a_number_is_digits_alone() {
        assert_eq!((number::<u16>("5"), number::<u16>("00010000")), (Some(5), Some(10_000)));
        for bad in ["", "+5", "-5", " 5", "5 ", "5.0", "0x5", "65536", "\u{0665}"] {
            assert_eq!(number::<u16>(bad), None, "{bad}");
        }
    }
}
