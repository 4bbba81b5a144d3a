//! The backend as the adversary against multipart objects: parts swapped, dropped, doubled, cut, emptied, put back in an
//! older attempt; trailers and envelopes mixed. Whole, ranged and single-part reads give the truth or fail.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::ops::Range;

use support::multipart::{ENVELOPE, MIN_PART, Object, Upload, forget};
use support::{Answer, BUCKET, Call, Stack, random, shares_a_run};

const KEY: &str = "victim";
/// Two parts of one length, which can take each other's place unseen by arithmetic, and a short one.
const SIZES: [usize; 3] = [MIN_PART + 1000, MIN_PART + 1000, 90_000];

/// What a change must be seen by.
enum Damage {
    /// Reads of these parts, and of the whole. Others are true.
    Parts(&'static [usize]),
    /// The whole, and whatever is read without knowing the object's trailer already.
    Trailer,
    /// Every read.
    Everything,
}

struct Victim {
    stack: Stack,
    upload: Upload,
    object: Object,
}

impl Victim {
    async fn new() -> Self {
        let stack = Stack::start().await;
        let upload = Upload::new(&stack, KEY).await;
        let parts = SIZES.iter().enumerate();
        let parts = parts.map(|(at, size)| upload.part(at as u16 + 1, random(at as u64 + 1, *size)));
        let object = upload.complete(parts.collect());
        Self { stack, upload, object }
    }

    /// Where the sealed bytes of a part lie.
    fn place(&self, part: usize) -> Range<usize> {
        let start: usize = self.object.parts[..part].iter().map(|p| p.sealed.len()).sum();
        start..start + self.object.parts[part].sealed.len()
    }

    fn segments(&self) -> usize {
        self.place(SIZES.len() - 1).end
    }

    async fn read(&self, query: &str, range: Option<&str>) -> Answer {
        let call = Call::new("GET", format!("/{BUCKET}/{KEY}{query}"));
        let call = range.into_iter().fold(call, |call, range| call.header("range", range));
        self.stack.proxy.send(call).await
    }

    /// Stores the object whole, changes it, and reads it: with what is known of it, and without.
    async fn check(&self, what: &str, damage: Damage, change: impl Fn(&mut Vec<u8>)) {
        self.check_raw(what, damage, &self.object.envelope, change).await;
    }

    async fn check_raw(&self, what: &str, damage: Damage, envelope: &str, change: impl Fn(&mut Vec<u8>)) {
        let whole = self.object.plain();
        for cold in [false, true] {
            self.object.store(&self.stack, KEY).await;
            forget(&self.stack, KEY);
            assert_eq!(self.read("", Some("bytes=0-0")).await.body, whole[..1], "{what}");
            let changed = self.stack.store.tamper(BUCKET, KEY, |raw| {
                change(&mut raw.body);
                raw.headers.retain(|(name, _)| name != ENVELOPE);
                raw.headers
                    .extend(Some((ENVELOPE.to_owned(), envelope.to_owned())).filter(|e| !e.1.is_empty()));
            });
            assert!(changed.unwrap());
            let closed = |part: usize| match damage {
                Damage::Parts(parts) => parts.contains(&part),
                Damage::Trailer => cold,
                Damage::Everything => true,
            };
            let mut start = 0;
            for (at, part) in self.object.parts.iter().enumerate() {
                let end = start + part.plain.len();
                // By its number, from its first to its last byte, and one chunk within it.
                let whole_part = format!("bytes={start}-{}", end - 1);
                for (query, range, truth) in [
                    (format!("?partNumber={}", at + 1), None, &part.plain[..]),
                    (String::new(), Some(whole_part), &part.plain[..]),
                ] {
                    if cold {
                        forget(&self.stack, KEY);
                    }
                    let what = format!("{what}, {query}{range:?}, cold: {cold}");
                    let answer = self.read(&query, range.as_deref()).await;
                    if closed(at) {
                        assert_closed(&what, &answer, truth);
                    } else {
                        assert_eq!(answer.status, 206, "{what}: {}", answer.text());
                        assert!(answer.complete && answer.body == truth, "{what}");
                    }
                }
                start = end;
            }
            // Over the borders of all parts.
            let over = format!("bytes=100-{}", whole.len() - 100);
            let answer = self.read("", Some(&over)).await;
            let truth = &whole[100..whole.len() - 99];
            if (0..SIZES.len()).any(closed) {
                assert_closed(&format!("{what}, over all, cold: {cold}"), &answer, truth);
            } else {
                assert!(answer.complete && answer.body == truth, "{what}");
            }
            if cold {
                forget(&self.stack, KEY);
            }
            let answer = self.read("", None).await;
            assert_closed(&format!("{what}, whole, cold: {cold}"), &answer, &whole);
            // The last bytes are held back until the trailer is checked.
            assert!(answer.body.len() < whole.len(), "{what}: every byte was released");
        }
    }
}

/// An answer that gives nothing false: an error, or a cut transfer of true bytes.
fn assert_closed(what: &str, answer: &Answer, truth: &[u8]) {
    if answer.status == 200 || answer.status == 206 {
        assert!(!answer.complete, "{what}: a whole answer. This is a security issue.");
        assert!(truth.starts_with(&answer.body), "{what}: false bytes. This is a security issue.");
    } else {
        assert!(answer.status >= 400 || answer.status == 0, "{what}: {}", answer.status);
        assert!(!shares_a_run(&answer.body, &truth[..truth.len().min(100_000)]), "{what}: bytes in an error");
    }
}

#[tokio::test]
async fn parts_stay_in_their_places() {
    let victim = Victim::new().await;
    let (one, two, three) = (victim.place(0), victim.place(1), victim.place(2));
    let sealed = |part: usize| victim.object.parts[part].sealed.clone();
    victim
        .check("swap two parts", Damage::Parts(&[0, 1]), |body| {
            body[one.clone()].copy_from_slice(&sealed(1));
            body[two.clone()].copy_from_slice(&sealed(0));
        })
        .await;
    victim
        .check("one part twice", Damage::Parts(&[1]), |body| body[two.clone()].copy_from_slice(&sealed(0)))
        .await;
    victim.check("zeros for a part", Damage::Parts(&[2]), |body| body[three.clone()].fill(0)).await;
    // Arithmetic alone sees these: the length is bound into the trailer.
    victim.check("drop a part", Damage::Everything, |body| drop(body.drain(two.clone()))).await;
    victim.check("drop the last part", Damage::Everything, |body| drop(body.drain(three.clone()))).await;
    victim
        .check("a part more", Damage::Everything, |body| {
            body.splice(three.end..three.end, sealed(2));
        })
        .await;
    victim
        .check("cut a part by a chunk", Damage::Everything, |body| {
            drop(body.drain(two.end - 65_552..two.end))
        })
        .await;
}

#[tokio::test]
async fn cut_and_emptied_objects() {
    let victim = Victim::new().await;
    let (one, segments) = (victim.place(0), victim.segments());
    victim.check("cut behind a part", Damage::Everything, |body| body.truncate(one.end)).await;
    victim.check("cut within a chunk", Damage::Everything, |body| body.truncate(one.end + 100)).await;
    victim.check("cut the trailer off", Damage::Everything, |body| body.truncate(segments)).await;
    victim.check("empty it", Damage::Everything, Vec::clear).await;
    victim.check("a byte more", Damage::Everything, |body| body.push(0)).await;
    victim
        .check("the trailer moved to the front", Damage::Everything, |body| body.rotate_left(segments))
        .await;
}

#[tokio::test]
async fn attempts_and_trailers_belong_together() {
    let victim = Victim::new().await;
    let (two, segments) = (victim.place(1), victim.segments());
    // The same part of the same upload, sent before with other bytes, and with the very same ones.
    let older = victim.upload.part(2, random(77, SIZES[1])).sealed;
    victim
        .check("an older attempt", Damage::Parts(&[1]), |body| body[two.clone()].copy_from_slice(&older))
        .await;
    let again = victim.upload.part(2, victim.object.parts[1].plain.clone()).sealed;
    victim
        .check("an attempt with the same bytes", Damage::Parts(&[1]), |body| {
            body[two.clone()].copy_from_slice(&again);
        })
        .await;
    let renumbered = victim.upload.part(3, victim.object.parts[1].plain.clone()).sealed;
    victim
        .check("the same bytes under another number", Damage::Parts(&[1]), |body| {
            body[two.clone()].copy_from_slice(&renumbered);
        })
        .await;
    // One chunk of the older attempt among those of the newer.
    victim
        .check("a chunk of an older attempt", Damage::Parts(&[1]), |body| {
            body[two.start..two.start + 65_552].copy_from_slice(&older[..65_552]);
        })
        .await;
    // Another object of the same layout, under another key of its own.
    let other = Upload::new(&victim.stack, KEY).await;
    let parts = SIZES.iter().enumerate();
    let other =
        other.complete(parts.map(|(at, s)| other.part(at as u16 + 1, random(at as u64 + 9, *s))).collect());
    let foreign = other.parts[1].sealed.clone();
    victim
        .check("a part of another object", Damage::Parts(&[1]), |body| {
            body[two.clone()].copy_from_slice(&foreign)
        })
        .await;
    victim
        .check("a trailer of another object", Damage::Trailer, |body| {
            body[segments..].copy_from_slice(&other.trailer);
        })
        .await;
    victim.check_raw("another object's envelope", Damage::Everything, &other.envelope, |_| ()).await;
    victim.check_raw("no envelope", Damage::Everything, "", |_| ()).await;
}

#[tokio::test]
async fn tables_and_footers_belong_together() {
    let victim = Victim::new().await;
    let end = victim.object.body().len();
    // Public trailers of one upload: the same parts in another attempt of the last.
    let mut parts = victim.object.parts.clone();
    parts[2] = victim.upload.part(3, parts[2].plain.clone());
    let second = victim.upload.complete(parts).trailer;
    let footer = second.len() - 400;
    victim
        .check("the footer of another trailer", Damage::Trailer, |body| {
            body[end - 400..].copy_from_slice(&second[footer..]);
        })
        .await;
    victim
        .check("the table of another trailer", Damage::Trailer, |body| {
            body[end - 400 - 336..end - 400].copy_from_slice(&second[footer - 336..footer]);
        })
        .await;
    for (what, at) in [
        ("flip the table", end - 400 - 200),
        ("flip the salt", end - 400),
        ("flip the footer", end - 300),
        ("flip the magic", end - 16),
        ("flip the version", end - 1),
    ] {
        victim.check(what, Damage::Trailer, |body| body[at] ^= 1).await;
    }
}

#[tokio::test]
async fn padding_is_zeros() {
    let stack = Stack::start().await;
    let object = Object::build(&stack, KEY, vec![random(5, MIN_PART + 10)]).await;
    let segment = object.parts[0].sealed.len();
    let trailer = object_format::trailer_len(1) as usize;
    assert!(object.trailer.len() > trailer, "this layout has padding");
    let plain = object.plain();
    for at in [segment, segment + object.trailer.len() - trailer - 1] {
        object.store(&stack, KEY).await;
        stack.store.tamper(BUCKET, KEY, |raw| raw.body[at] ^= 1).unwrap();
        forget(&stack, KEY);
        for _ in 0..2 {
            let answer = stack.get(KEY).await;
            assert_closed("flip padding", &answer, &plain);
            assert!(answer.body.len() < plain.len());
            // What a range touches is whole.
            let ranged = stack.get_range(KEY, "bytes=5-99").await;
            assert_eq!((ranged.status, ranged.body.as_slice()), (206, &plain[5..100]));
        }
    }
}

#[tokio::test]
async fn kinds_are_not_mistaken_for_each_other() {
    let victim = Victim::new().await;
    // A single PUT of the same name and length: its envelope over the parts, and the parts' envelope over its body.
    let plain = victim.object.plain();
    victim.stack.put(KEY, &plain).await;
    let single = victim.stack.store.stored(BUCKET, KEY).unwrap();
    assert_eq!(single.body.len(), victim.object.body().len(), "sizes tell nothing of parts");
    let envelope = single.header(ENVELOPE).unwrap().to_owned();
    victim.check_raw("the envelope of a single PUT", Damage::Everything, &envelope, |_| ()).await;
    victim.check("the body of a single PUT", Damage::Everything, |body| body.clone_from(&single.body)).await;
    // An empty body under a multipart envelope is no empty object.
    let empty = Object::build(&victim.stack, "empty", vec![Vec::new()]).await;
    empty.store(&victim.stack, "empty").await;
    assert_eq!(victim.stack.get("empty").await.status, 200);
    victim.stack.store.tamper(BUCKET, "empty", |raw| raw.body.clear()).unwrap();
    for _ in 0..2 {
        assert_eq!(victim.stack.get("empty").await.status, 500);
        assert_eq!(victim.stack.head("empty").await.status, 500);
        forget(&victim.stack, "empty");
    }
}
