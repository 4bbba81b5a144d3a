//! Reads a tree field by field and collects every fault on the way, so that one run shows all of them.
//! A reading function that returns `None` has reported why.

use std::cell::RefCell;
use std::path::PathBuf;
use std::time::Duration;

use time::OffsetDateTime;

use super::expand::{Surroundings, expand};
use super::fault::Fault;
use super::tree::{self, Node};
use super::{Secret, units};

/// Collects faults while a tree is read.
pub(super) struct Reader<'a> {
    around: &'a Surroundings<'a>,
    found: RefCell<Vec<Found>>,
}

struct Found {
    steps: Vec<usize>,
    place: String,
    message: String,
    remedy: String,
}

impl<'a> Reader<'a> {
    pub(super) fn new(around: &'a Surroundings<'a>) -> Self {
        Self { around, found: RefCell::default() }
    }

    /// The root of a tree.
    pub(super) fn root(&'a self, node: &'a Node) -> Value<'a> {
        Value { reader: self, node, steps: Vec::new(), place: String::new() }
    }

    /// All faults in the order of the text, each with its line.
    pub(super) fn faults(self, text: &str) -> Vec<Fault> {
        let mut faults: Vec<Fault> = self
            .found
            .into_inner()
            .into_iter()
            .map(|found| Fault {
                line: Some(tree::line_of(text, &found.steps)),
                place: found.place,
                message: found.message,
                remedy: found.remedy,
            })
            .collect();
        faults.sort();
        faults.dedup();
        faults
    }
}

/// A value and where it stands.
#[derive(Clone)]
pub(super) struct Value<'a> {
    reader: &'a Reader<'a>,
    node: &'a Node,
    steps: Vec<usize>,
    place: String,
}

impl<'a> Value<'a> {
    /// Whether who reads the configuration will listen.
    pub(super) fn listens(&self) -> bool {
        self.reader.around.listens
    }

    /// Reports a fault here. Neither text may hold a secret.
    pub(super) fn fault(&self, message: impl Into<String>, remedy: impl Into<String>) {
        self.reader.found.borrow_mut().push(Found {
            steps: self.steps.clone(),
            place: self.place.clone(),
            message: message.into(),
            remedy: remedy.into(),
        });
    }

    fn wrong_kind(&self, wanted: &str) {
        let remedy = match self.node {
            Node::Number(_) | Node::Bool(_) if wanted == "a text" => "Put it in quotes.".to_owned(),
            _ => format!("Write {wanted}."),
        };
        self.fault(format!("{} stands where {wanted} is needed", self.node.describe()), remedy);
    }

    fn child(&self, step: usize, node: &'a Node, place: String) -> Value<'a> {
        let mut steps = self.steps.clone();
        steps.push(step);
        Value { reader: self.reader, node, steps, place }
    }

    /// A mapping.
    pub(super) fn map(&self) -> Option<Map<'a>> {
        let Node::Map(entries) = self.node else {
            self.wrong_kind("a mapping of names to values");
            return None;
        };
        let map = Map { at: self.clone(), entries, asked: RefCell::default() };
        for (number, (key, _)) in entries.iter().enumerate() {
            if entries[..number].iter().any(|(earlier, _)| earlier == key) {
                map.value(number).fault("this name stands twice", "Keep one of the two.");
            }
        }
        Some(map)
    }

    /// A list; a single value where a list is wanted is refused, since it hides a typing error.
    pub(super) fn list(&self) -> Option<Vec<Value<'a>>> {
        let Node::List(items) = self.node else {
            self.wrong_kind("a list");
            return None;
        };
        Some(
            items
                .iter()
                .enumerate()
                .map(|(number, item)| self.child(number, item, format!("{}[{number}]", self.place)))
                .collect(),
        )
    }

    /// A text as written, nothing replaced; for messages.
    pub(super) fn written(&self) -> &'a str {
        match self.node {
            Node::Text(text) => text,
            _ => self.node.describe(),
        }
    }

    /// A text that is not empty, `${…}` replaced.
    pub(super) fn text(&self) -> Option<String> {
        let Node::Text(text) = self.node else {
            self.wrong_kind("a text");
            return None;
        };
        match expand(text, self.reader.around) {
            Ok(value) if value.is_empty() => {
                self.fault("the value is empty", "Write a value, or remove the line.");
                None
            }
            Ok(value) => Some(value),
            Err((message, remedy)) => {
                self.fault(message, remedy);
                None
            }
        }
    }

    /// A text that is shown nowhere.
    pub(super) fn secret(&self) -> Option<Secret> {
        let secret = self.text()?;
        if secret.chars().any(char::is_control) {
            self.fault("the secret holds a line break or another control character", "Remove it.");
            return None;
        }
        Some(Secret::new(secret))
    }

    /// Texts of a list.
    pub(super) fn texts(&self) -> Option<Vec<String>> {
        let items = self.list()?;
        let texts: Vec<Option<String>> = items.iter().map(Value::text).collect();
        texts.into_iter().collect()
    }

    pub(super) fn bool(&self) -> Option<bool> {
        let Node::Bool(value) = self.node else {
            self.wrong_kind("true or false");
            return None;
        };
        Some(*value)
    }

    /// A unit-bearing value: `parse` tells how to write it where it cannot read it.
    fn scalar<T>(&self, what: &str, parse: impl Fn(&str) -> Result<T, &'static str>) -> Option<T> {
        let text = match self.node {
            Node::Number(text) => text.clone(),
            _ => self.text()?,
        };
        match parse(&text) {
            Ok(value) => Some(value),
            Err(remedy) => {
                self.refuse(format!("{text:?} is not {what}"), remedy);
                None
            }
        }
    }

    /// Reports a value that was read and not accepted. What a `${…}` brought in may be a secret, so it is not shown.
    fn refuse(&self, message: String, remedy: impl Into<String>) {
        let message = match self.node {
            Node::Text(text) if text.contains("${") => {
                format!("what {text:?} stands for is not accepted here")
            }
            _ => message,
        };
        self.fault(message, remedy);
    }

    /// A length of time such as `5m`; may be zero.
    pub(super) fn duration(&self) -> Option<Duration> {
        self.scalar("a length of time", units::duration)
    }

    /// A length of time above zero.
    pub(super) fn positive_duration(&self) -> Option<Duration> {
        let duration = self.duration()?;
        if duration.is_zero() {
            self.fault("the length of time is zero", "Write one above zero, such as 30s.");
            return None;
        }
        Some(duration)
    }

    /// Bytes, such as `64KiB`.
    pub(super) fn size(&self) -> Option<u64> {
        self.scalar("a size", units::size)
    }

    /// A date or an instant.
    pub(super) fn date(&self) -> Option<OffsetDateTime> {
        self.scalar("a date", units::date)
    }

    /// A file or folder; relative ones count from the configuration's folder.
    pub(super) fn path(&self) -> Option<PathBuf> {
        Some(self.reader.around.path(&self.text()?))
    }

    /// One of some words.
    pub(super) fn word<T: Copy>(&self, words: &[(&str, T)]) -> Option<T> {
        let text = match self.node {
            Node::Number(text) => text.clone(),
            _ => self.text()?,
        };
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
            return Some(*value);
        }
        let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        self.refuse(format!("{text:?} is not known here"), advise(&text, &names));
        None
    }

    /// Parses a text; `Err` is message, which may quote the text, and remedy, which may not.
    pub(super) fn parse<T>(&self, parse: impl FnOnce(&str) -> Result<T, (String, String)>) -> Option<T> {
        match parse(&self.text()?) {
            Ok(value) => Some(value),
            Err((message, remedy)) => {
                self.refuse(message, remedy);
                None
            }
        }
    }
}

/// A mapping whose fields are asked for by name; what nobody asked for is unknown.
pub(super) struct Map<'a> {
    at: Value<'a>,
    entries: &'a [(String, Node)],
    asked: RefCell<Vec<&'static str>>,
}

impl<'a> Map<'a> {
    /// The mapping's own place.
    pub(super) fn here(&self) -> &Value<'a> {
        &self.at
    }

    fn value(&self, number: usize) -> Value<'a> {
        let (key, node) = &self.entries[number];
        let place =
            if self.at.place.is_empty() { key.clone() } else { format!("{}.{}", self.at.place, quoted(key)) };
        self.at.child(number, node, place)
    }

    /// A field; one without a value counts as absent.
    pub(super) fn get(&self, name: &'static str) -> Option<Value<'a>> {
        self.asked.borrow_mut().push(name);
        let number = self.entries.iter().position(|(key, _)| key == name)?;
        (!matches!(self.entries[number].1, Node::Null)).then(|| self.value(number))
    }

    /// A field that has to be there; `remedy` shows how to write it.
    pub(super) fn need(&self, name: &'static str, remedy: &str) -> Option<Value<'a>> {
        let value = self.get(name);
        if value.is_none() {
            self.at.fault(format!("`{name}` is missing"), remedy);
        }
        value
    }

    /// Entries of a mapping whose names are free. Ends with them: no `close` needed.
    pub(super) fn entries(&self) -> Vec<(&'a str, Value<'a>)> {
        self.entries.iter().enumerate().map(|(number, (key, _))| (key.as_str(), self.value(number))).collect()
    }

    /// Reports every field that was not asked for.
    pub(super) fn close(self) {
        let asked = self.asked.borrow();
        for (number, (key, _)) in self.entries.iter().enumerate() {
            if !asked.contains(&key.as_str()) {
                self.value(number).fault("this name is not known here", advise(key, &asked));
            }
        }
    }
}

/// A name in a place, quoted where dots or stars would mislead.
fn quoted(key: &str) -> String {
    let plain = key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    if plain { key.to_owned() } else { format!("{key:?}") }
}

/// What to write instead of an unknown word.
fn advise(word: &str, known: &[&str]) -> String {
    let near = known
        .iter()
        .map(|candidate| (strsim::damerau_levenshtein(&word.to_lowercase(), candidate), candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len() / 4)
        .min();
    match near {
        Some((_, candidate)) => format!("Did you mean `{candidate}`?"),
        None => format!("Known here: {}.", known.join(", ")),
    }
}
