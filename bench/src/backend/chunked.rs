//! Decodes aws-chunked bodies as they come, without copying them, and verifies a trailing CRC. Chunk signatures are
//! skipped: this backend believes everybody.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::{Buf as _, Bytes};
use crc_fast::{CrcAlgorithm, Digest};

/// Longest chunk header or trailer line that is read.
const MAX_LINE: usize = 4096;

#[derive(Debug)]
enum State {
    /// Within a line: a chunk's header, or one of the trailer.
    Line,
    Data(u64),
    /// The line end behind a chunk.
    End,
    Trailer,
    Done,
}

pub(super) struct Decoder {
    state: State,
    line: Vec<u8>,
    crc: Option<(String, Digest)>,
    declared: Option<String>,
}

impl Decoder {
    /// `trailer` is the value of `x-amz-trailer`.
    pub(super) fn new(trailer: Option<&str>) -> Self {
        let crc = trailer.and_then(|name| {
            let algorithm = match name {
                "x-amz-checksum-crc32" => CrcAlgorithm::Crc32IsoHdlc,
                "x-amz-checksum-crc32c" => CrcAlgorithm::Crc32Iscsi,
                "x-amz-checksum-crc64nvme" => CrcAlgorithm::Crc64Nvme,
                _ => return None,
            };
            Some((name.to_owned(), Digest::new(algorithm)))
        });
        Self { state: State::Line, line: Vec::new(), crc, declared: None }
    }

    /// Takes some of the body, and gives the payload within to `keep`.
    pub(super) fn push(&mut self, mut data: Bytes, keep: &mut impl FnMut(Bytes)) -> Result<(), ()> {
        while !data.is_empty() {
            match self.state {
                State::Data(left) => {
                    let length = usize::try_from(left).unwrap_or(usize::MAX).min(data.len());
                    let piece = data.split_to(length);
                    if let Some((_, crc)) = &mut self.crc {
                        crc.update(&piece);
                    }
                    let left = left - piece.len() as u64;
                    keep(piece);
                    self.state = if left == 0 { State::End } else { State::Data(left) };
                }
                State::Done => return Err(()),
                State::Line | State::End | State::Trailer => {
                    let end = data.iter().position(|byte| *byte == b'\n');
                    let taken = end.map_or(data.len(), |end| end + 1);
                    self.line.extend_from_slice(&data[..taken]);
                    data.advance(taken);
                    if self.line.len() > MAX_LINE {
                        return Err(());
                    }
                    if end.is_some() {
                        self.end_line()?;
                        self.line.clear();
                    }
                }
            }
        }
        Ok(())
    }

    fn end_line(&mut self) -> Result<(), ()> {
        let line = std::str::from_utf8(&self.line).map_err(|_| ())?.strip_suffix("\r\n").ok_or(())?;
        self.state = match self.state {
            State::End if line.is_empty() => State::Line,
            State::Line => {
                let size = line.split(';').next().unwrap_or("");
                match u64::from_str_radix(size, 16).map_err(|_| ())? {
                    0 => State::Trailer,
                    size => State::Data(size),
                }
            }
            State::Trailer if line.is_empty() => State::Done,
            State::Trailer => {
                let (name, value) = line.split_once(':').ok_or(())?;
                if self.crc.as_ref().is_some_and(|(wanted, _)| wanted.eq_ignore_ascii_case(name)) {
                    self.declared = Some(value.trim().to_owned());
                }
                State::Trailer
            }
            _ => return Err(()),
        };
        Ok(())
    }

    /// Whether the body was whole, and the one its trailer speaks of; the error tells whether it was whole.
    pub(super) fn finish(self) -> Result<(), bool> {
        if !matches!(self.state, State::Done) {
            return Err(false);
        }
        let Some((name, crc)) = self.crc else { return Ok(()) };
        let sum = crc.finalize().to_be_bytes();
        let sum = if name.ends_with("crc64nvme") { &sum[..] } else { &sum[4..] };
        if self.declared == Some(BASE64.encode(sum)) { Ok(()) } else { Err(true) }
    }
}
