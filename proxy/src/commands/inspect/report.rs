//! How `inspect` shows what it found: one fact a line.

use std::io::{self, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use object_format::{
    BucketKeyFlag, ChecksumFact, ChecksumKind, Envelope, EtagFact, Kind, Mode, Trailer, has_magic, length,
};

use super::source::Stored;
use crate::s3::checksum::ChecksumAlgorithm;

/// Parts that are listed one by one; of the others only the number is told.
const SHOWN_PARTS: usize = 20;

/// What came of the attempt to open envelope and trailer.
#[derive(Debug)]
pub(super) enum Opened {
    /// Both are authentic.
    Yes(Box<Trailer>),
    /// Not tried, or refused; the text says why.
    No(String),
}

/// Everything to be shown.
pub(super) struct Report<'a> {
    pub(super) stored: &'a Stored,
    pub(super) envelope: Option<&'a Envelope>,
    pub(super) opened: Option<Opened>,
}

impl Report<'_> {
    pub(super) fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "{}", self.stored.title)?;
        match (self.envelope, &self.stored.envelope) {
            (Some(envelope), Some(value)) => self.write_envelope(envelope, value.trim().len(), out)?,
            _ => line(out, "envelope", "none: not written by s3cloak, or it was stripped")?,
        }
        self.write_body(out)?;
        match &self.opened {
            None => Ok(()),
            Some(Opened::No(why)) => line(out, "opened", &format!("no: {why}")),
            Some(Opened::Yes(trailer)) => write_trailer(trailer, out),
        }
    }

    fn write_envelope(&self, envelope: &Envelope, length: usize, out: &mut dyn Write) -> io::Result<()> {
        let header = envelope.header();
        line(out, "envelope", &format!("{length} characters, format {}", object_format::FORMAT_VERSION))?;
        line(
            out,
            "written",
            match header.kind {
                Kind::Single => "in one request",
                Kind::Multipart => "in parts",
            },
        )?;
        line(
            out,
            "mode",
            match header.mode {
                Mode::SseS3 => "SSE-S3 (AES256)",
                Mode::SseKms => "SSE-KMS (aws:kms)",
                Mode::SseC => "SSE-C (the customer's own key, which is stored nowhere)",
            },
        )?;
        if header.mode == Mode::SseC {
            return Ok(());
        }
        line(out, "key", &format!("{}/{}", header.service, header.key_name))?;
        if let Some(spelling) = &header.key_spelling {
            line(out, "asked for as", &format!("{spelling:?}"))?;
        }
        line(
            out,
            "data key",
            match header.bucket_key {
                BucketKeyFlag::Shared => "the bucket's",
                BucketKeyFlag::SharedShown => "the bucket's, and clients are told",
                BucketKeyFlag::PerObject => "of this object alone",
            },
        )?;
        line(out, "sealed key", &STANDARD.encode(&header.sealed_key))?;
        match &header.context {
            Some(context) => line(out, "context", &format!("{:?}", String::from_utf8_lossy(context))),
            None => Ok(()),
        }
    }

    fn write_body(&self, out: &mut dyn Write) -> io::Result<()> {
        let Some(size) = self.stored.size else { return Ok(()) };
        line(out, "stored", &format!("{size} bytes"))?;
        let encrypted = self.envelope.is_some();
        let magic = self.stored.tail.as_deref().is_some_and(has_magic);
        let said = match (encrypted, magic, size) {
            (true, false, 0) => "an empty object has none".to_owned(),
            (_, true, _) => {
                let version = self.stored.tail.as_deref().and_then(<[u8]>::last).copied().unwrap_or_default();
                format!("s3cloak object, format {version}")
            }
            (true, false, _) => "MISSING: these are not the bytes that belong to this envelope".to_owned(),
            (false, false, _) => "none".to_owned(),
        };
        line(out, "magic", &said)?;
        if !(encrypted || magic) {
            return line(out, "plaintext", "as stored: this object is not encrypted");
        }
        match length::plain_len(size) {
            Some(plain) => line(out, "plaintext", &format!("{plain} bytes, by the stored size")),
            None => line(out, "plaintext", "UNKNOWN: no object of this format has this stored size"),
        }
    }
}

fn write_trailer(trailer: &Trailer, out: &mut dyn Write) -> io::Result<()> {
    line(out, "opened", "yes: envelope and trailer are authentic (the body was not read)")?;
    line(out, "plaintext", &format!("{} bytes, sealed", trailer.plain_size))?;
    line(
        out,
        "ETag",
        &match &trailer.facts.etag {
            EtagFact::Md5(md5) => format!("{} (MD5 of the plaintext)", hex::encode(md5)),
            EtagFact::Multipart { md5, parts } => {
                format!("{}-{parts} (MD5 of the parts' MD5s)", hex::encode(md5))
            }
            EtagFact::Opaque => "the backend's own".to_owned(),
        },
    )?;
    if let Some(checksum) = &trailer.facts.checksum {
        line(out, "checksum", &show_checksum(checksum))?;
    }
    if trailer.kind == Kind::Multipart {
        line(out, "parts", &trailer.parts.len().to_string())?;
        for part in trailer.parts.iter().take(SHOWN_PARTS) {
            line(out, "", &format!("{:>5}  {} bytes", part.number, part.size))?;
        }
        if trailer.parts.len() > SHOWN_PARTS {
            line(out, "", "    …")?;
        }
    }
    Ok(())
}

fn show_checksum(checksum: &ChecksumFact) -> String {
    let algorithm = ChecksumAlgorithm::from_id(checksum.algorithm)
        .map_or_else(|| format!("algorithm {}", checksum.algorithm), |known| known.name().to_owned());
    let kind = match checksum.kind {
        ChecksumKind::FullObject => "of the whole object",
        ChecksumKind::Composite => "of the parts' checksums",
    };
    format!("{algorithm} {} ({kind})", STANDARD.encode(&checksum.value))
}

fn line(out: &mut dyn Write, name: &str, value: &str) -> io::Result<()> {
    writeln!(out, "  {name:<12} {value}")
}
