//! Writes a listing anew with its entries edited.

use std::ops::Range;

use super::{EntryKind, Listing, Slot};
use crate::s3::name::encode_path;
use crate::s3::xml::escape;

/// What becomes of one entry. Elements that speak of checksums go in any case.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Edit {
    /// Leave the entry out.
    pub drop: bool,
    /// Size to show.
    pub size: Option<u64>,
    /// Tag to show, unquoted.
    pub etag: Option<String>,
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
        let mut patches = Patches::default();
        let mut dropped = 0;
        for (entry, edit) in self.entries.iter().zip(edits) {
            if edit.drop {
                // Delete markers and versions are not counted anywhere; KeyCount is V2's alone.
                dropped += u64::from(matches!(entry.kind, EntryKind::Object | EntryKind::Prefix));
                patches.replace(entry.spans.element.clone(), String::new());
                continue;
            }
            for span in &entry.spans.checksums {
                patches.replace(span.clone(), String::new());
            }
            if let (Some(size), Some(slot)) = (edit.size, &entry.spans.size) {
                patches.fill(slot, size.to_string());
            }
            if let (Some(etag), Some(slot)) = (&edit.etag, &entry.spans.etag) {
                let quote = quote_of(&self.document[slot.text.clone()]);
                let mut text = String::from(quote);
                escape(etag, &mut text);
                text.push_str(quote);
                patches.fill(slot, text);
            }
        }
        if let Some((count, slot)) = self.key_count.as_ref().filter(|_| dropped > 0) {
            patches.fill(slot, count.saturating_sub(dropped).to_string());
        }
        if let (Some(marker), Some(slot)) = (marker, &self.marker) {
            let mut text = String::new();
            if self.url_encoded {
                text = encode_path(marker);
            } else {
                escape(&String::from_utf8_lossy(marker), &mut text);
            }
            patches.fill(slot, text);
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

#[derive(Default)]
struct Patches(Vec<(Range<usize>, String)>);

impl Patches {
    fn replace(&mut self, span: Range<usize>, text: String) {
        self.0.push((span, text));
    }

    fn fill(&mut self, slot: &Slot, text: String) {
        // `<Size/>` has no text to stand in for.
        if slot.text.end == slot.element.end {
            self.replace(slot.element.clone(), format!("<{0}>{text}</{0}>", slot.name));
        } else {
            self.replace(slot.text.clone(), text);
        }
    }

    fn apply(mut self, document: &[u8]) -> Vec<u8> {
        self.0.sort_by_key(|(span, _)| span.start);
        let mut out = Vec::with_capacity(document.len() + 64);
        let mut at = 0;
        for (span, text) in self.0 {
            out.extend_from_slice(&document[at..span.start]);
            out.extend_from_slice(text.as_bytes());
            at = span.end;
        }
        out.extend_from_slice(&document[at..]);
        out
    }
}
