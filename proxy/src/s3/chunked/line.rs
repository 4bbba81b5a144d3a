//! `10000;chunk-signature=...`: the line before a chunk's data.

use super::malformed;
use crate::auth::parse_signature;
use crate::error::Result;

/// A parsed size line.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct ChunkLine {
    pub(super) size: u64,
    pub(super) signature: Option<[u8; 32]>,
}

impl ChunkLine {
    /// Takes the line with its CRLF. Extensions other than the signature are ignored.
    pub(super) fn parse(line: &[u8]) -> Result<Self> {
        let line = line
            .strip_suffix(b"\r\n")
            .ok_or_else(|| malformed("a chunk's size line does not end in CRLF"))?;
        let mut parts = line.split(|b| *b == b';');
        let size = parts.next().unwrap_or_default();
        // 2^48 bytes are more than S3 stores in one object, and cannot overflow the sum.
        if size.is_empty() || size.len() > 12 || !size.iter().all(u8::is_ascii_hexdigit) {
            return Err(malformed("a chunk's size is not a hexadecimal number"));
        }
        let size = size.iter().fold(0, |sum, digit| {
            sum << 4
                | u64::from(
                    char::from(*digit).to_digit(16).expect("every digit was checked to be hexadecimal"),
                )
        });
        let mut signature = None;
        for extension in parts {
            let Some(value) = extension.trim_ascii().strip_prefix(b"chunk-signature=") else { continue };
            let value = parse_signature(value)
                .ok_or_else(|| malformed("a chunk-signature is not 64 lower-case hex digits"))?;
            if signature.replace(value).is_some() {
                return Err(malformed("a chunk has two signatures"));
            }
        }
        Ok(Self { size, signature })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let sig = "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648";
        let line = ChunkLine::parse(format!("1aF0;chunk-signature={sig}\r\n").as_bytes()).unwrap();
        assert_eq!(line.size, 0x1af0);
        assert_eq!(hex::encode(line.signature.unwrap()), sig);
        assert_eq!(ChunkLine::parse(b"0\r\n").unwrap(), ChunkLine { size: 0, signature: None });
        assert_eq!(ChunkLine::parse(b"5;name=value;other\r\n").unwrap().size, 5);
        for bad in [
            &b"\r\n"[..],
            b"5\n",
            b"g\r\n",
            b" 5\r\n",
            b"-5\r\n",
            b"+5\r\n",
            b"0x5\r\n",
            b"1000000000000\r\n",
            b";chunk-signature=\r\n",
            b"5;chunk-signature=abc\r\n",
        ] {
            assert!(ChunkLine::parse(bad).is_err(), "{}", bad.escape_ascii());
        }
        let twice = format!("5;chunk-signature={sig};chunk-signature={sig}\r\n");
        assert!(ChunkLine::parse(twice.as_bytes()).is_err());
        assert!(
            ChunkLine::parse(format!("5;chunk-signature={}\r\n", sig.to_uppercase()).as_bytes()).is_err()
        );
    }
}
