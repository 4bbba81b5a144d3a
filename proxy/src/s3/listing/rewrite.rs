//! Writes a listing anew with its entries edited.

use std::fmt::Write;
use std::ops::Range;

use super::{EntryKind, Listing, Slot};
use crate::s3::name::encode_path;
use crate::s3::xml::escape;

/// What becomes of what an entry says of its object's checksum.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Checksum {
    /// It is that of the ciphertext: it goes.
    #[default]
    Drop,
    /// It is the backend's own of plaintext.
    Keep,
    /// This comes in its place: an algorithm, and whether it is `FULL_OBJECT` or `COMPOSITE`.
    Show(&'static str, &'static str),
}

/// What becomes of one entry.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Edit {
    /// Leave the entry out.
    pub drop: bool,
    /// Size to show.
    pub size: Option<u64>,
    /// Tag to show, unquoted.
    pub etag: Option<String>,
    /// Which checksum to show.
    pub checksum: Checksum,
}

impl Edit {
    /// Leaves the entry out.
    pub fn drop() -> Self {
        Self { drop: true, ..Self::default() }
    }
}

impl Listing<'_> {
    /// The document with one edit applied to each entry (entries without one stay), `KeyCount` lowered by those left
    /// out. With `marker`, `<Marker>` says that instead of what the backend was asked.
    pub fn rewrite(&self, edits: &[Edit], marker: Option<&[u8]>) -> Vec<u8> {
        let mut patches = Patches(Vec::with_capacity(3 * edits.len() + 2));
        let mut dropped = 0;
        for (entry, edit) in self.entries.iter().zip(edits) {
            if edit.drop {
                // Delete markers and versions are not counted anywhere; KeyCount is V2's alone.
                dropped += u64::from(matches!(entry.kind, EntryKind::Object | EntryKind::Prefix));
                patches.replace(entry.spans.element.clone(), Patch::Nothing);
                continue;
            }
            if edit.checksum != Checksum::Keep {
                for span in &entry.spans.checksums {
                    patches.replace(span.clone(), Patch::Nothing);
                }
            }
            if let (Some(size), Some(slot)) = (edit.size, &entry.spans.size) {
                patches.fill(slot, Patch::Number(size));
            }
            if let (Some(etag), Some(slot)) = (&edit.etag, &entry.spans.etag) {
                let quote = quote_of(&self.document[slot.text.clone()]);
                patches.fill(slot, Patch::Tag { quote, etag });
            }
            // S3 writes it behind the tag.
            if let (Checksum::Show(algorithm, kind), Some(slot)) = (edit.checksum, &entry.spans.etag) {
                let behind = slot.element.end;
                patches.replace(behind..behind, Patch::Checksum { algorithm, kind });
            }
        }
        if let Some((count, slot)) = self.key_count.as_ref().filter(|_| dropped > 0) {
            patches.fill(slot, Patch::Number(count.saturating_sub(dropped)));
        }
        if let (Some(marker), Some(slot)) = (marker, &self.marker) {
            let mut text = String::new();
            if self.url_encoded {
                text = encode_path(marker);
            } else {
                escape(&String::from_utf8_lossy(marker), &mut text);
            }
            patches.fill(slot, Patch::Text(text));
        }
        patches.apply(self.document)
    }
}

/// As the backend wrote its quotes; S3's own where it wrote none.
fn quote_of(text: &[u8]) -> &'static str {
    ["\"", "&#34;"]
        .into_iter()
        .find(|q| text.trim_ascii_start().starts_with(q.as_bytes()))
        .unwrap_or("&quot;")
}

/// What comes to stand in a place.
enum Patch<'e> {
    Nothing,
    Number(u64),
    Tag { quote: &'static str, etag: &'e str },
    Checksum { algorithm: &'static str, kind: &'static str },
    Text(String),
}

impl Patch<'_> {
    fn write(&self, out: &mut String) {
        match self {
            Self::Nothing => {}
            // A String takes everything.
            Self::Number(number) => drop(write!(out, "{number}")),
            Self::Tag { quote, etag } => {
                out.push_str(quote);
                escape(etag, out);
                out.push_str(quote);
            }
            Self::Checksum { algorithm, kind } => out.extend([
                "<ChecksumAlgorithm>",
                algorithm,
                "</ChecksumAlgorithm><ChecksumType>",
                kind,
                "</ChecksumType>",
            ]),
            Self::Text(text) => out.push_str(text),
        }
    }
}

/// Patches, each with its place and, where there is no text to stand in for (`<Size/>`), the element to write around it.
struct Patches<'e>(Vec<(Range<usize>, Option<&'static str>, Patch<'e>)>);

impl<'e> Patches<'e> {
    fn replace(&mut self, span: Range<usize>, patch: Patch<'e>) {
        self.0.push((span, None, patch));
    }

    fn fill(&mut self, slot: &Slot, patch: Patch<'e>) {
        if slot.text.end == slot.element.end {
            self.0.push((slot.element.clone(), Some(slot.name), patch));
        } else {
            self.replace(slot.text.clone(), patch);
        }
    }

    fn apply(mut self, document: &[u8]) -> Vec<u8> {
        // Stable: what is put in front of a place that is replaced stays in front of it.
        self.0.sort_by_key(|(span, ..)| (span.start, span.end));
        let mut out = Vec::with_capacity(document.len() + document.len() / 16 + 64);
        let mut text = String::new();
        let mut at = 0;
        for (span, element, patch) in &self.0 {
            out.extend_from_slice(&document[at..span.start]);
            text.clear();
            match element {
                Some(name) => {
                    text.extend(["<", name, ">"]);
                    patch.write(&mut text);
                    text.extend(["</", name, ">"]);
                }
                None => patch.write(&mut text),
            }
            out.extend_from_slice(text.as_bytes());
            at = span.end;
        }
        out.extend_from_slice(&document[at..]);
        out
    }
}
