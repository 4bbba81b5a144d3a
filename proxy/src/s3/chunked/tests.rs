//! Tests of the decoder: AWS's documented bodies, any split, any changed byte, what clients really send.

use bytes::Bytes;
use proptest::prelude::*;

use super::{ChunkedDecoder, MAX_SIGNED_CHUNK, Trailers};
use crate::auth::canonical::{DayKey, Scope, sha256};
use crate::auth::testing::{Draft, SECRET_KEY, store};
use crate::auth::tests::{chunked_example, trailer_example};
use crate::auth::{ChunkSigner, PayloadCheck, Verified};
use crate::error::{Code, Result};
use crate::s3::S3Request;

/// Feeds `wire` in pieces of at most `split` bytes.
fn decode(mut decoder: ChunkedDecoder, wire: &[u8], split: usize) -> Result<(Vec<u8>, Trailers)> {
    let mut out = Vec::new();
    for piece in wire.chunks(split.max(1)) {
        decoder.push(Bytes::copy_from_slice(piece), &mut |data| {
            assert!(!data.is_empty());
            out.extend_from_slice(&data);
        })?;
    }
    Ok((out, decoder.finish()?))
}

fn refusal(result: Result<(Vec<u8>, Trailers)>) -> Code {
    match result {
        Err(error) => error.code().clone(),
        Ok(_) => panic!("a bad body was accepted"),
    }
}

fn unsigned(length: u64, declared: &[&str]) -> ChunkedDecoder {
    let declared = declared.iter().map(|s| (*s).to_owned()).collect();
    ChunkedDecoder::new(&PayloadCheck::UnsignedTrailer, length, declared).unwrap()
}

fn documented(request: &Verified<S3Request>) -> ChunkedDecoder {
    ChunkedDecoder::for_request(request).unwrap().unwrap()
}

/// 65 KiB of `a` in two chunks and the empty one.
fn documented_body(signatures: [&str; 3], trailer: &str) -> Vec<u8> {
    let mut body = Vec::new();
    for (size, signature) in [(65536, signatures[0]), (1024, signatures[1])] {
        body.extend_from_slice(format!("{size:x};chunk-signature={signature}\r\n").as_bytes());
        body.extend(std::iter::repeat_n(b'a', size));
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("0;chunk-signature={}\r\n{trailer}\r\n", signatures[2]).as_bytes());
    body
}

fn example() -> Vec<u8> {
    documented_body(
        [
            "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
            "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
            "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
        ],
        "",
    )
}

const TRAILER_CHUNKS: [&str; 3] = [
    "b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2",
    "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7",
    "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992",
];
const CHECKSUM: &str = "x-amz-checksum-crc32c:sOO8/Q==";
const TRAILER_SIGNATURE: &str =
    "x-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435";

#[test]
fn the_documented_chunks_decode() {
    let request = chunked_example().verify(&store()).unwrap();
    let body = example();
    // The documentation's Content-Length.
    assert_eq!(body.len(), 66824);
    for split in [1, 2, 87, 1000, 65536, body.len()] {
        let (data, trailers) = decode(documented(&request), &body, split).unwrap();
        assert!(data.len() == 66560 && data.iter().all(|b| *b == b'a'));
        assert_eq!(trailers, Trailers::default());
    }
}

#[test]
fn the_documented_trailer_decodes_in_every_spelling() {
    let request = trailer_example().verify(&store()).unwrap();
    for trailer in [
        format!("{CHECKSUM}\r\n{TRAILER_SIGNATURE}\r\n"),
        // As minio-go ends its lines.
        format!("{CHECKSUM}\n\r\n{TRAILER_SIGNATURE}\r\n"),
        // With the empty chunk's data ended, and with nothing behind.
        format!("\r\n{CHECKSUM}\r\n{TRAILER_SIGNATURE}"),
        format!("{}\r\n{TRAILER_SIGNATURE}\r\n", CHECKSUM.replace(':', ": ").replace("x-amz", "X-Amz")),
    ] {
        for split in [3, 70_000] {
            let body = documented_body(TRAILER_CHUNKS, &trailer);
            let (data, trailers) = decode(documented(&request), &body, split).unwrap();
            assert_eq!(data.len(), 66560);
            assert_eq!(trailers.get("x-amz-checksum-crc32c"), Some("sOO8/Q=="));
            assert_eq!(trailers.iter().count(), 1);
        }
    }
}

#[test]
fn wrong_trailers_are_refused() {
    let request = trailer_example().verify(&store()).unwrap();
    let wrong_signature = TRAILER_SIGNATURE.replace(":d8", ":d9");
    for (trailer, want) in [
        (String::new(), Code::MalformedTrailer),
        (format!("{CHECKSUM}\r\n"), Code::MalformedTrailer),
        (format!("{TRAILER_SIGNATURE}\r\n"), Code::MalformedTrailer),
        (format!("{CHECKSUM}\r\n{wrong_signature}\r\n"), Code::SignatureDoesNotMatch),
        (
            format!("{}\r\n{TRAILER_SIGNATURE}\r\n", CHECKSUM.replace("sOO8", "sOO9")),
            Code::SignatureDoesNotMatch,
        ),
        (
            format!("{}\r\n{TRAILER_SIGNATURE}\r\n", CHECKSUM.replace("crc32c", "crc32")),
            Code::MalformedTrailer,
        ),
        (format!("{CHECKSUM}\r\n{CHECKSUM}\r\n{TRAILER_SIGNATURE}\r\n"), Code::MalformedTrailer),
        (format!("{CHECKSUM}\r\nx-amz-meta-a:1\r\n{TRAILER_SIGNATURE}\r\n"), Code::MalformedTrailer),
        (format!("{CHECKSUM}\r\n{TRAILER_SIGNATURE}\r\n{CHECKSUM}\r\n"), Code::MalformedTrailer),
        (format!("{CHECKSUM}\r\n{TRAILER_SIGNATURE}00\r\n"), Code::MalformedTrailer),
        (format!("{CHECKSUM}\r\nno colon\r\n{TRAILER_SIGNATURE}\r\n"), Code::MalformedTrailer),
        (format!("{CHECKSUM}\r\n{TRAILER_SIGNATURE}\r\n{}", "\r\n".repeat(4096)), Code::MalformedTrailer),
    ] {
        let body = documented_body(TRAILER_CHUNKS, &trailer);
        assert_eq!(refusal(decode(documented(&request), &body, 1000)), want, "{trailer:?}");
    }
    // A form without a trailer takes none, nor any bytes behind the last chunk.
    let request = chunked_example().verify(&store()).unwrap();
    for tail in [CHECKSUM, "x", "0\r\n"] {
        let mut body = example();
        body.extend_from_slice(tail.as_bytes());
        assert_eq!(refusal(decode(documented(&request), &body, 1000)), Code::MalformedTrailer, "{tail}");
    }
}

#[test]
fn a_chain_that_is_broken_anywhere_is_refused() {
    let request = chunked_example().verify(&store()).unwrap();
    let good = example();
    let mismatch = Code::SignatureDoesNotMatch;
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut body = good.clone();
        change(&mut body);
        refusal(decode(documented(&request), &body, 4096))
    };
    assert_eq!(with(&|b| b[100] ^= 1), mismatch, "data of the first chunk");
    assert_eq!(with(&|b| b[65536 + 300] ^= 1), mismatch, "data of the second chunk");
    assert_eq!(with(&|b| b[30] = if b[30] == b'0' { b'1' } else { b'0' }), mismatch, "first signature");
    let last = good.len() - 10;
    assert_eq!(with(&|b| b[last] = if b[last] == b'0' { b'1' } else { b'0' }), mismatch, "last signature");
    // The second and last chunk without the first, whose length then does not add up.
    let second = good.windows(4).position(|w| w == b"400;").unwrap();
    assert_eq!(with(&|b| drop(b.drain(..second))), mismatch, "no first chunk");
    assert_eq!(with(&|b| b.truncate(second)), Code::IncompleteBody, "cut between chunks");
    assert_eq!(with(&|b| b.truncate(second + 200)), Code::IncompleteBody, "cut within a chunk");
    assert_eq!(with(&|b| b.clear()), Code::IncompleteBody, "no body");
    let unsigned =
        String::from_utf8(good.clone()).unwrap().replacen(";chunk-signature=", ";x=", 1).into_bytes();
    assert_eq!(refusal(decode(documented(&request), &unsigned, 4096)), Code::IncompleteBody, "no signature");
}

#[test]
fn lengths_that_do_not_add_up_are_refused() {
    for (body, length) in [
        ("5\r\nhello\r\n0\r\n\r\n", 6),
        ("5\r\nhello\r\n0\r\n\r\n", 4),
        ("0\r\n\r\n", 1),
        ("5\r\nhello\r\n1\r\nx\r\n0\r\n\r\n", 5),
        ("ffffffffffff\r\n", 5),
    ] {
        assert_eq!(
            refusal(decode(unsigned(length, &[]), body.as_bytes(), 100)),
            Code::IncompleteBody,
            "{body:?}"
        );
    }
    // More than was declared is noticed before it is emitted.
    let mut decoder = unsigned(5, &[]);
    let pushed = decoder.push(Bytes::from_static(b"6\r\nhello!"), &mut |_| panic!("emitted"));
    assert_eq!(pushed.unwrap_err().code(), &Code::IncompleteBody);
}

#[test]
fn unsigned_bodies() {
    let (data, trailers) = decode(unsigned(0, &[]), b"0\r\n\r\n", 1).unwrap();
    assert!(data.is_empty() && trailers == Trailers::default());
    let body = b"3\r\nabc\r\n2;ext=1\r\nde\r\n0\r\nx-amz-checksum-crc32:hYaUxQ==\r\n\r\n";
    for split in 1..body.len() {
        let (data, trailers) = decode(unsigned(5, &["x-amz-checksum-crc32"]), body, split).unwrap();
        assert_eq!(data, b"abcde");
        assert_eq!(trailers.get("x-amz-checksum-crc32"), Some("hYaUxQ=="));
    }
    // A declared checksum that does not arrive, and one that arrives undeclared.
    let missing = decode(unsigned(3, &["x-amz-checksum-crc32"]), b"3\r\nabc\r\n0\r\n\r\n", 5);
    assert_eq!(refusal(missing), Code::MalformedTrailer);
    assert_eq!(refusal(decode(unsigned(5, &[]), body, 5)), Code::MalformedTrailer);
}

#[test]
fn malformed_framing_is_refused() {
    for body in [
        "5\nhello\r\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhello\r0\r\n\r\n",
        "\r\n5\r\nhello\r\n0\r\n\r\n",
        "five\r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
    ] {
        for split in [1, 100] {
            assert_eq!(
                refusal(decode(unsigned(5, &[]), body.as_bytes(), split)),
                Code::IncompleteBody,
                "{body:?}"
            );
        }
    }
    let endless = format!("5;{}", "x".repeat(600));
    assert_eq!(refusal(decode(unsigned(5, &[]), endless.as_bytes(), 50)), Code::IncompleteBody);
    // Nothing is taken after a refusal, however good.
    let mut decoder = unsigned(5, &[]);
    assert!(decoder.push(Bytes::from_static(b"x\r\n"), &mut |_| {}).is_err());
    assert!(
        decoder.push(Bytes::from_static(b"5\r\nhello\r\n0\r\n\r\n"), &mut |_| panic!("emitted")).is_err()
    );
    assert!(decoder.finish().is_err());
}

#[test]
fn what_is_emitted_is_not_copied() {
    let wire = Bytes::from_static(b"5\r\nhello\r\n0\r\n\r\n");
    let mut decoder = unsigned(5, &[]);
    let at = wire[3..].as_ptr();
    decoder.push(wire, &mut |data| assert_eq!(data.as_ptr(), at)).unwrap();
    decoder.finish().unwrap();
}

#[test]
fn only_chunked_payloads_have_a_decoder() {
    let plain = Draft::new("PUT", "/bucket/k").sign().verify(&store()).unwrap();
    assert!(ChunkedDecoder::for_request(&plain).unwrap().is_none());
    let no_length = Draft::new("PUT", "/bucket/k")
        .header("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER")
        .header("content-length", "5");
    let no_length = no_length.sign().verify(&store()).unwrap();
    match ChunkedDecoder::for_request(&no_length) {
        Err(error) => assert_eq!(error.code(), &Code::MissingContentLength),
        Ok(_) => panic!("no decoded length"),
    }
}

#[test]
fn a_trailer_that_the_form_does_not_have_is_refused() {
    for form in ["UNSIGNED-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"] {
        let draft = Draft::new("PUT", "/bucket/k")
            .header("x-amz-content-sha256", form)
            .header("x-amz-decoded-content-length", "5")
            .header("x-amz-trailer", "x-amz-checksum-crc32");
        match ChunkedDecoder::for_request(&draft.sign().verify(&store()).unwrap()) {
            Err(error) => assert_eq!(error.code(), &Code::InvalidRequest, "{form}"),
            Ok(_) => panic!("{form}"),
        }
    }
}

/// The other end of the chain: signs chunks and a trailer as a client does.
struct Client {
    key: DayKey,
    previous: String,
    body: Vec<u8>,
}

const SEED: [u8; 32] = [7; 32];

fn scope() -> Scope {
    Scope { date: "20130524".into(), region: "us-east-1".into(), service: "s3".into() }
}

impl Client {
    fn new() -> Self {
        Self { key: DayKey::derive(SECRET_KEY, &scope()), previous: hex::encode(SEED), body: Vec::new() }
    }

    fn sign(&mut self, kind: &str, rest: &str) -> String {
        let string =
            format!("AWS4-HMAC-SHA256-{kind}\n20130524T000000Z\n{}\n{}\n{rest}", scope(), self.previous);
        self.previous = hex::encode(self.key.sign(&string));
        self.previous.clone()
    }

    fn chunk(&mut self, data: &[u8]) {
        let empty = hex::encode(sha256(b""));
        let signature = self.sign("PAYLOAD", &format!("{empty}\n{}", hex::encode(sha256(data))));
        self.body.extend_from_slice(format!("{:x};chunk-signature={signature}\r\n", data.len()).as_bytes());
        if !data.is_empty() {
            self.body.extend_from_slice(data);
            self.body.extend_from_slice(b"\r\n");
        }
    }

    fn trailer(&mut self, line: &str) {
        let signature = self.sign("TRAILER", &hex::encode(sha256(format!("{line}\n").as_bytes())));
        self.body
            .extend_from_slice(format!("{line}\r\nx-amz-trailer-signature:{signature}\r\n\r\n").as_bytes());
    }
}

fn signed(length: u64) -> ChunkedDecoder {
    let key = std::sync::Arc::new(DayKey::derive(SECRET_KEY, &scope()));
    let signer = ChunkSigner::for_tests(key, &scope(), &SEED);
    let declared = vec!["x-amz-checksum-crc32".to_owned()];
    ChunkedDecoder::new(&PayloadCheck::SignedChunksTrailer(signer), length, declared).unwrap()
}

#[test]
fn signed_chunks_have_a_largest_size() {
    let line = format!("{:x};chunk-signature={}\r\n", MAX_SIGNED_CHUNK + 1, "0".repeat(64));
    let refused = decode(signed(MAX_SIGNED_CHUNK * 2), line.as_bytes(), 100);
    assert_eq!(refusal(refused), Code::InvalidChunkSize);
}

#[test]
fn only_blanks_are_white_space_in_a_trailer() {
    let mut client = Client::new();
    client.chunk(b"ab");
    client.chunk(b"");
    client.trailer("x-amz-checksum-crc32:AAAAAA==");
    let good = client.body;
    assert!(decode(signed(2), &good, 1000).is_ok());
    for odd in [0x0b, 0x0c, 0x85, 0xa0] {
        let mut wire = good.clone();
        *wire.last_mut().unwrap() = odd;
        assert!(decode(signed(2), &wire, 1000).is_err(), "{odd:#x}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_chunks_in_any_split_decode(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..300), 0..8),
        split in 1usize..400,
    ) {
        let mut client = Client::new();
        let data = chunks.concat();
        for chunk in &chunks {
            client.chunk(chunk);
        }
        client.chunk(b"");
        client.trailer("x-amz-checksum-crc32:AAAAAA==");
        let (decoded, trailers) = decode(signed(data.len() as u64), &client.body, split).unwrap();
        prop_assert_eq!(decoded, data);
        prop_assert_eq!(trailers.get("x-amz-checksum-crc32"), Some("AAAAAA=="));
    }

    #[test]
    fn no_changed_byte_and_no_cut_decodes_to_other_data(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..60), 1..4),
        at in any::<prop::sample::Index>(),
        bit in 0u8..8,
        cut in any::<prop::sample::Index>(),
    ) {
        let mut client = Client::new();
        let data = chunks.concat();
        for chunk in &chunks {
            client.chunk(chunk);
        }
        client.chunk(b"");
        client.trailer("x-amz-checksum-crc32:AAAAAA==");
        let good = client.body;

        let mut flipped = good.clone();
        let at = at.index(flipped.len());
        flipped[at] ^= 1 << bit;
        // Case of hex sizes and header names, and white space in the trailer, carry no meaning.
        if let Ok((decoded, trailers)) = decode(signed(data.len() as u64), &flipped, 1000) {
            prop_assert_eq!(decoded, data.clone());
            prop_assert_eq!(trailers.get("x-amz-checksum-crc32"), Some("AAAAAA=="));
            let folded = |body: &[u8]| -> Vec<u8> {
                body.iter().filter(|b| !b.is_ascii_whitespace()).map(u8::to_ascii_lowercase).collect()
            };
            prop_assert_eq!(folded(&flipped), folded(&good));
        }

        // Only the empty line at the end may be missing.
        let kept = cut.index(good.len() - 4);
        prop_assert!(decode(signed(data.len() as u64), &good[..kept], 1000).is_err());
    }

    #[test]
    fn no_bytes_make_it_panic(body in prop::collection::vec(any::<u8>(), 0..400), split in 1usize..50) {
        let _ = decode(unsigned(100, &[]), &body, split);
        let _ = decode(signed(100), &body, split);
    }
}
