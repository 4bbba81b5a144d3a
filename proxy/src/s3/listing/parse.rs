//! Finds the entries of a listing and where they stand.

use std::borrow::Cow;
use std::ops::Range;

use super::{Entry, EntryKind, Listing, Slot, Spans};
use crate::error::Result;
use crate::s3::etag::unquote;
use crate::s3::name::decode_listed;
use crate::s3::xml::{Broken, Tokens};

/// Bytes of an entry with a short key: room for the entries of a page is made once.
const TYPICAL_ENTRY: usize = 192;

impl<'a> Listing<'a> {
    /// Reads a listing. BadGateway (502) where it is none, or is cut short.
    pub fn parse(document: &'a [u8]) -> Result<Self> {
        parse(document).map_err(Broken::by_backend)
    }
}

fn parse(document: &[u8]) -> Result<Listing<'_>, Broken> {
    let mut tokens = Tokens::new(document);
    let mut listing = Listing {
        document,
        entries: Vec::with_capacity(document.len() / TYPICAL_ENTRY),
        is_truncated: false,
        has_next: false,
        key_count: None,
        marker: None,
        url_encoded: false,
    };
    match tokens.child()? {
        Some(b"ListBucketResult" | b"ListVersionsResult" | b"ListMultipartUploadsResult") => {}
        _ => return Err(Broken::new("the root element is not a listing's")),
    }
    while let Some(name) = tokens.child()? {
        let kind = match name {
            b"Contents" => EntryKind::Object,
            b"Version" => EntryKind::Version,
            b"DeleteMarker" => EntryKind::DeleteMarker,
            b"Upload" => EntryKind::Upload,
            b"CommonPrefixes" => {
                prefixes(&mut tokens, &mut listing.entries)?;
                continue;
            }
            b"IsTruncated" => {
                listing.is_truncated = tokens.bytes()?.trim_ascii() == b"true";
                continue;
            }
            b"EncodingType" => {
                listing.url_encoded = tokens.bytes()?.trim_ascii() == b"url";
                continue;
            }
            b"NextMarker" | b"NextContinuationToken" | b"NextKeyMarker" => {
                listing.has_next |= !tokens.bytes()?.is_empty();
                continue;
            }
            b"KeyCount" => {
                let (text, slot) = leaf(&mut tokens, "KeyCount")?;
                listing.key_count = number(&text).map(|count| (count, slot));
                continue;
            }
            b"Marker" => {
                listing.marker = Some(leaf(&mut tokens, "Marker")?.1);
                continue;
            }
            _ => {
                tokens.skip()?;
                continue;
            }
        };
        listing.entries.push(entry(&mut tokens, kind)?);
    }
    tokens.end()?;
    // `EncodingType` may stand behind the entries.
    if listing.url_encoded {
        for entry in &mut listing.entries {
            url_decode(&mut entry.key);
        }
    }
    Ok(listing)
}

fn entry<'a>(tokens: &mut Tokens<'a>, kind: EntryKind) -> Result<Entry<'a>, Broken> {
    let start = tokens.start();
    let mut key = None;
    let (mut version_id, mut size, mut etag, mut last_modified) = (None, None, None, None);
    let mut spans = Spans::default();
    while let Some(name) = tokens.child()? {
        let child = tokens.start();
        match name {
            b"Key" => key = Some(tokens.bytes()?),
            b"VersionId" => version_id = Some(tokens.str()?),
            b"LastModified" => last_modified = Some(tokens.str()?),
            b"Size" => {
                let (text, slot) = leaf(tokens, "Size")?;
                size = number(&text);
                spans.size = Some(slot);
            }
            b"ETag" => {
                let (text, slot) = leaf(tokens, "ETag")?;
                etag = Some(bare(text));
                spans.etag = Some(slot);
            }
            b"ChecksumAlgorithm" | b"ChecksumType" => {
                tokens.skip()?;
                spans.checksums.push(child..tokens.position());
            }
            _ => tokens.skip()?,
        }
    }
    spans.element = start..tokens.position();
    let key = key.filter(|k| !k.is_empty()).ok_or_else(|| Broken::new("an entry without a Key"))?;
    Ok(Entry { kind, key, version_id, size, etag, last_modified, spans })
}

fn prefixes<'a>(tokens: &mut Tokens<'a>, entries: &mut Vec<Entry<'a>>) -> Result<(), Broken> {
    let start = tokens.start();
    let mut found: Vec<(Cow<'a, [u8]>, Range<usize>)> = Vec::new();
    while let Some(name) = tokens.child()? {
        let child = tokens.start();
        if name == b"Prefix" {
            let prefix = tokens.bytes()?;
            found.push((prefix, child..tokens.position()));
        } else {
            tokens.skip()?;
        }
    }
    // One prefix to an element, as S3 writes them, goes with the element around it.
    if let [(_, span)] = &mut found[..] {
        *span = start..tokens.position();
    }
    entries.extend(found.into_iter().map(|(key, element)| Entry {
        kind: EntryKind::Prefix,
        key,
        version_id: None,
        size: None,
        etag: None,
        last_modified: None,
        spans: Spans { element, ..Spans::default() },
    }));
    Ok(())
}

/// The text of the leaf that was just opened, and where it stands.
fn leaf<'a>(tokens: &mut Tokens<'a>, name: &'static str) -> Result<(Cow<'a, [u8]>, Slot), Broken> {
    let start = tokens.start();
    let begin = tokens.position();
    let text = tokens.bytes()?;
    Ok((text, Slot { element: start..tokens.position(), text: begin..tokens.start(), name }))
}

fn number(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.trim().parse().ok()
}

/// A tag without its quotes.
fn bare(tag: Cow<'_, [u8]>) -> Cow<'_, str> {
    match tag {
        Cow::Borrowed(tag) => match String::from_utf8_lossy(tag) {
            Cow::Borrowed(tag) => Cow::Borrowed(unquote(tag)),
            Cow::Owned(tag) => Cow::Owned(unquote(&tag).to_owned()),
        },
        Cow::Owned(tag) => Cow::Owned(unquote(&String::from_utf8_lossy(&tag)).to_owned()),
    }
}

/// `encoding-type=url`.
fn url_decode(text: &mut Cow<'_, [u8]>) {
    if text.iter().any(|b| matches!(b, b'+' | b'%')) {
        *text = Cow::Owned(decode_listed(text));
    }
}
