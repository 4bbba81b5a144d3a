//! However the wire is cut, the decoder emits the same bytes and comes to the same verdict, and never more than announced.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use s3cloak::auth::PayloadCheck;
use s3cloak::s3::chunked::ChunkedDecoder;

fn decode(pieces: &[&[u8]], length: u64) -> Option<Vec<u8>> {
    let declared = vec!["x-amz-checksum-crc32".to_owned()];
    let mut decoder =
        ChunkedDecoder::new(&PayloadCheck::UnsignedTrailer, length, declared).expect("a chunked form");
    let mut out = Vec::new();
    let whole = pieces.iter().all(|piece| {
        decoder.push(Bytes::copy_from_slice(piece), &mut |bytes| out.extend_from_slice(&bytes)).is_ok()
    });
    assert!(out.len() as u64 <= length);
    (whole && decoder.finish().is_ok()).then_some(out)
}

fuzz_target!(|input: (u16, u16, &[u8])| {
    let (length, cut, wire) = input;
    let (head, tail) = wire.split_at(usize::from(cut).min(wire.len()));
    let whole = decode(&[wire], length.into());
    assert_eq!(decode(&[head, tail], length.into()), whole);
    assert_eq!(decode(&wire.chunks(1).collect::<Vec<_>>(), length.into()), whole);
    if let Some(out) = whole {
        assert_eq!(out.len(), usize::from(length));
    }
});
