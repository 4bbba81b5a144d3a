//! YAML as a tree that keeps duplicate keys, and the way back from a place in the tree to its line in the text.
//! Knows nothing of what a configuration may hold.

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// One YAML value.
#[derive(Debug)]
pub(super) enum Node {
    Null,
    Bool(bool),
    /// An unquoted number, as its shortest spelling.
    Number(String),
    Text(String),
    List(Vec<Node>),
    /// In the order of the text; a key may stand twice.
    Map(Vec<(String, Node)>),
}

impl Node {
    /// For messages: what stands there.
    pub(super) fn describe(&self) -> &'static str {
        match self {
            Node::Null => "nothing",
            Node::Bool(_) => "true or false",
            Node::Number(_) => "a number",
            Node::Text(_) => "a text",
            Node::List(_) => "a list",
            Node::Map(_) => "a mapping of names to values",
        }
    }
}

/// Parses a text; `Err` carries the parser's words and its line. An empty text is an empty tree.
pub(super) fn parse(text: &str) -> Result<Node, (String, Option<usize>)> {
    let only_comments = text.lines().all(|line| {
        let line = line.trim();
        line.is_empty() || line.starts_with('#') || line == "---"
    });
    if only_comments {
        return Ok(Node::Null);
    }
    serde_yaml::from_str(text)
        .map_err(|error| (error.to_string(), error.location().map(|location| location.line())))
}

/// The line (from 1) of the value that `steps` lead to: entry or item numbers from the root down. For an entry of a
/// mapping it is the line of its key.
pub(super) fn line_of(text: &str, steps: &[usize]) -> usize {
    if steps.is_empty() {
        return 1;
    }
    // The parser tells where it stands only in errors, so one is provoked at the very place.
    match (Seek { steps }).deserialize(serde_yaml::Deserializer::from_str(text)) {
        Ok(()) => 1,
        Err(error) => error.location().map_or(1, |location| location.line()),
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("plain YAML without tags")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Number(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Number(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Number(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Node::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let mut entries = Vec::new();
        while let Some(Key(key)) = access.next_key()? {
            entries.push((key, access.next_value()?));
        }
        Ok(Node::Map(entries))
    }
}

/// A key of a mapping; `1:` and `true:` are taken as texts.
struct Key(String);

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Key)
    }
}

/// Walks to a place and fails there.
struct Seek<'a> {
    steps: &'a [usize],
}

impl<'de> DeserializeSeed<'de> for Seek<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seek<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("another place")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<(), A::Error> {
        let Some((&step, rest)) = self.steps.split_first() else { return Ok(()) };
        for _ in 0..step {
            access.next_element::<IgnoredAny>()?;
        }
        if rest.is_empty() {
            access.next_element_seed(Here)?;
        } else {
            access.next_element_seed(Seek { steps: rest })?;
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<(), A::Error> {
        let Some((&step, rest)) = self.steps.split_first() else { return Ok(()) };
        for _ in 0..step {
            access.next_entry::<IgnoredAny, IgnoredAny>()?;
        }
        if rest.is_empty() {
            access.next_key_seed(Here)?;
        } else {
            access.next_key::<IgnoredAny>()?;
            access.next_value_seed(Seek { steps: rest })?;
        }
        Ok(())
    }
}

/// Refuses whatever stands there: a visitor's methods do by default.
struct Here;

impl<'de> DeserializeSeed<'de> for Here {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Visitor<'_> for Here {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("another place")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
a: 1
b:
  # a comment
  c: [x, y]
  d:
    - e
    - f: true
      g:
        h: null
    - {i: 1, i: 2}
";

    #[test]
    fn every_place_has_its_line() {
        for (steps, line) in [
            (&[0][..], 1),
            (&[1], 2),
            (&[1, 0], 4),
            (&[1, 0, 1], 4),
            (&[1, 1], 5),
            (&[1, 1, 0], 6),
            (&[1, 1, 1], 7),
            (&[1, 1, 1, 0], 7),
            (&[1, 1, 1, 1], 8),
            (&[1, 1, 1, 1, 0], 9),
            (&[1, 1, 2, 1], 10),
        ] {
            assert_eq!(line_of(TEXT, steps), line, "{steps:?}");
        }
    }

    #[test]
    fn duplicate_keys_are_kept() {
        let Node::Map(root) = parse(TEXT).unwrap() else { panic!("a mapping") };
        let Node::Map(b) = &root[1].1 else { panic!("a mapping") };
        let Node::List(d) = &b[1].1 else { panic!("a list") };
        let Node::Map(twice) = &d[2] else { panic!("a mapping") };
        assert_eq!(twice.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(), ["i", "i"]);
    }

    #[test]
    fn empty_texts_are_empty_and_broken_ones_tell_the_line() {
        for empty in ["", "# nothing\n", "---\n\n"] {
            assert!(matches!(parse(empty), Ok(Node::Null)), "{empty:?}");
        }
        let (message, line) = parse("a: 1\nb: [1,\nc: }").unwrap_err();
        assert!(line.is_some_and(|line| line >= 2), "{message}");
        assert!(parse("a: !tag x").is_err());
        let bomb = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\n\
                    c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\n\
                    e: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e]\n\
                    g: &g [*f,*f,*f,*f,*f,*f,*f,*f,*f]\n";
        assert!(parse(bomb).is_err());
    }
}
