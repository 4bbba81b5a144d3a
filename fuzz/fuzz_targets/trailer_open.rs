//! No bytes but the sealed ones open as a trailer, whether made up or laid over a good one.
#![no_main]

use libfuzzer_sys::fuzz_target;
use object_format::*;

struct Fixed;
impl Random for Fixed {
    fn fill(&mut self, out: &mut [u8]) {
        out.fill(7);
    }
}

fuzz_target!(|data: &[u8]| {
    let secrets = ObjectSecrets::multipart(&mut Fixed);
    let parts = [PartEntry { number: 1, size: 5, salt: [7; 16], checksum: None }];
    let facts = SealedFacts { etag: EtagFact::Opaque, checksum: None };
    let good =
        seal_trailer(&secrets.trailer_key(), &parts, &facts, &[1; 32], &[2; 32]).expect("a small object");
    let mut laid_over = good.clone();
    laid_over.iter_mut().zip(data).for_each(|(byte, data)| *byte ^= data);
    for tail in [data, &laid_over] {
        let opened = open_trailer(&secrets, tail, length::sealed_len(5));
        assert_eq!(matches!(opened, Ok(TrailerRead::Ready(_))), tail == good);
    }
});
