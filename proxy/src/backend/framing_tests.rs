//! Framing: announced lengths are exact for any split, and an independent reading gives the payload back.

use proptest::prelude::*;

use super::*;
use crate::auth::sign::{Signer, Unsigned};
use crate::config::{Secret, StaticKeys};

const ALL: [Framing; 4] = [
    Framing::Trailer(TrailerChecksum::Crc64Nvme),
    Framing::Trailer(TrailerChecksum::Crc32),
    Framing::Signed,
    Framing::Plain,
];

fn signatures() -> ChunkSignatures {
    let keys = StaticKeys { access_key: "a".into(), secret_key: Secret::new("s"), session_token: None };
    let unsigned = Unsigned {
        method: http::Method::PUT,
        uri: "http://h/b/k".parse().unwrap(),
        headers: HeaderMap::new(),
    };
    Signer::new(keys).sign_chunked(unsigned, "us-east-1", time::OffsetDateTime::UNIX_EPOCH).unwrap().1
}

fn frame(framing: Framing, body: &[u8], cuts: &[usize]) -> Vec<u8> {
    let mut framer = Framer::new(framing, body.len() as u64, Some(signatures()));
    let mut wire = Vec::new();
    let mut from = 0;
    for to in cuts.iter().copied().chain([body.len()]) {
        let to = to.clamp(from, body.len());
        for piece in framer.push(Bytes::copy_from_slice(&body[from..to])).unwrap() {
            piece.iter().for_each(|bytes| wire.extend_from_slice(bytes));
        }
        from = to;
    }
    framer.finish().unwrap().iter().for_each(|bytes| wire.extend_from_slice(bytes));
    wire
}

/// Reads aws-chunked as a server does; gives the payload and what follows the 0-chunk.
fn unframe(mut wire: &[u8]) -> (Vec<u8>, String) {
    let mut body = Vec::new();
    loop {
        let end = wire.windows(2).position(|w| w == b"\r\n").unwrap();
        let line = std::str::from_utf8(&wire[..end]).unwrap();
        let len = usize::from_str_radix(line.split(';').next().unwrap(), 16).unwrap();
        wire = &wire[end + 2..];
        if len == 0 {
            return (body, std::str::from_utf8(wire).unwrap().to_owned());
        }
        body.extend_from_slice(&wire[..len]);
        assert_eq!(&wire[len..len + 2], b"\r\n");
        wire = &wire[len + 2..];
    }
}

fn sample(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 31 + i / 251) as u8).collect()
}

#[test]
fn announced_lengths_are_exact_at_every_border() {
    for len in [0, 1, 15, 16, 255, 256, 4095, 4096, 65551, 65552, 65553, 131_104, 131_105, 200_000] {
        let body = sample(len);
        for framing in ALL {
            let wire = frame(framing, &body, &[]);
            assert_eq!(wire.len() as u64, framing.wire_len(len as u64), "{framing:?} {len}");
            if framing != Framing::Plain {
                assert_eq!(unframe(&wire).0, body);
            }
        }
    }
}

#[test]
fn trailers_carry_the_checksum_of_the_payload() {
    // The check values of both CRCs over "123456789".
    let (_, trailer) = unframe(&frame(ALL[0], b"123456789", &[4]));
    let crc64 = STANDARD.encode(0xae8b_1486_0a79_9888_u64.to_be_bytes());
    assert_eq!(trailer, format!("x-amz-checksum-crc64nvme:{crc64}\r\n\r\n"));
    let (_, trailer) = unframe(&frame(ALL[1], b"123456789", &[]));
    let crc32 = STANDARD.encode(0xcbf4_3926_u32.to_be_bytes());
    assert_eq!(trailer, format!("x-amz-checksum-crc32:{crc32}\r\n\r\n"));
    let (_, end) = unframe(&frame(Framing::Signed, b"123456789", &[]));
    assert_eq!(end, "\r\n");
}

proptest! {
    #[test]
    fn any_split_gives_the_same_bytes(len in 0_usize..220_000, mut cuts in prop::collection::vec(0_usize..220_000, 0..6)) {
        cuts.sort_unstable();
        let body = sample(len);
        for framing in ALL {
            prop_assert_eq!(frame(framing, &body, &cuts), frame(framing, &body, &[]));
        }
    }
}

#[test]
fn a_sealed_chunk_is_framed_without_a_copy() {
    let chunk = Bytes::from(sample(65552));
    let mut framer = Framer::new(ALL[0], 2 * 65552, None);
    let pieces = framer.push(chunk.clone()).unwrap();
    assert_eq!(pieces.len(), 1);
    assert!(pieces[0].iter().any(|bytes| bytes.as_ptr() == chunk.as_ptr()));
}

#[test]
fn more_or_less_than_announced_is_refused() {
    for framing in ALL {
        let mut framer = Framer::new(framing, 10, Some(signatures()));
        framer.push(Bytes::from_static(b"123456789")).unwrap();
        assert!(framer.push(Bytes::from_static(b"12")).is_err(), "{framing:?}");
        let mut framer = Framer::new(framing, 10, Some(signatures()));
        framer.push(Bytes::from_static(b"123456789")).unwrap();
        assert!(framer.finish().is_err(), "{framing:?}");
    }
}

#[test]
fn the_announcement_keeps_the_clients_own_coding() {
    let mut headers = HeaderMap::new();
    headers.insert("content-encoding", HeaderValue::from_static("gzip"));
    ALL[0].announce(&mut headers, 70_000).unwrap();
    assert_eq!(headers["content-encoding"], "aws-chunked,gzip");
    assert_eq!(headers["x-amz-trailer"], "x-amz-checksum-crc64nvme");
    assert_eq!(headers["x-amz-decoded-content-length"], "70000");
    assert_eq!(headers["content-length"], ALL[0].wire_len(70_000).to_string().as_str());

    let mut headers = HeaderMap::new();
    Framing::Plain.announce(&mut headers, 70_000).unwrap();
    assert_eq!(headers.len(), 1);
    assert_eq!(headers["content-length"], "70000");
}
