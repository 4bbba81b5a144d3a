//! An answer that mixes two objects, as storage gives that finds headers and bytes by name one after the other, looks like
//! tampering and passes: it is asked for again, before anything was given out. What lasts is refused all the same.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use http::Method;
use s3cloak::demo::store::Fault;
use support::{Answer, Stack, random};

const SMALL: usize = 1000;
const LARGE: usize = 300_000;
/// A byte of the footer, in answers to a look at it alone and with the last 64 KiB of an object.
const IN_FOOTER: u64 = 512 - 100;
const IN_LAST: u64 = 65_536 - 100;
/// Whole chunks of this many stored bytes.
const CHUNK: u64 = 65_536 + 16;

struct Torn {
    stack: Stack,
    small: Vec<u8>,
    large: Vec<u8>,
}

impl Torn {
    async fn start() -> Self {
        let stack = Stack::start().await;
        let (small, large) = (random(1, SMALL), random(2, LARGE));
        stack.put("small", &small).await;
        stack.put("large", &large).await;
        Self { stack, small, large }
    }

    /// The next `times` answers about `key` have a byte of another object.
    fn tear(&self, key: &str, at: u64, times: usize) {
        self.stack.store.journal().take();
        for _ in 0..times {
            self.stack.store.faults().on(Method::GET, key, Fault::FlipByte(at));
        }
    }

    /// Requests for `key` since then, once no fault waits.
    fn asked(&self, key: &str) -> usize {
        assert_eq!(self.stack.store.faults().waiting(), 0, "a fault that met no request");
        self.stack.store.journal().take().iter().filter(|seen| seen.target.contains(key)).count()
    }

    fn alarms(&self, number: u32) {
        let text = self.stack.services.metrics.render(&[]);
        assert!(text.contains(&format!("s3cloak_tampered_total {number}\n")), "{text}");
    }
}

fn is_whole(answer: &Answer, status: u16, plain: &[u8]) {
    assert_eq!(answer.status, status, "{}", answer.text());
    assert!(answer.complete && answer.body == plain);
}

fn is_refused(answer: &Answer) {
    assert_eq!((answer.status, answer.code().as_str()), (500, "InternalError"), "{}", answer.text());
    assert!(answer.text().contains("integrity check"), "{}", answer.text());
}

#[tokio::test]
async fn what_passes_is_served() {
    let torn = Torn::start().await;
    let whole = object_format::length::sealed_len(SMALL as u64);
    for times in [1, 2] {
        // One look at its end brings all of it.
        torn.tear("small", whole - 100, times);
        is_whole(&torn.stack.get("small").await, 200, &torn.small);
        assert_eq!(torn.asked("small"), 1 + times);
        torn.tear("small", IN_FOOTER, times);
        assert_eq!(torn.stack.head("small").await.status, 200);
        assert_eq!(torn.asked("small"), 1 + times);
        // Of a larger one the end, and then its bytes, which stand at the front of the second answer.
        torn.tear("large", IN_LAST, times);
        is_whole(&torn.stack.get("large").await, 200, &torn.large);
        torn.asked("large");
        torn.tear("large", 70, times);
        is_whole(&torn.stack.get_range("large", "bytes=7-70000").await, 206, &torn.large[7..70_001]);
        torn.asked("large");
    }
    torn.alarms(0);
}

#[tokio::test]
async fn what_lasts_is_refused() {
    let torn = Torn::start().await;
    let whole = object_format::length::sealed_len(SMALL as u64);
    torn.tear("small", whole - 100, 3);
    is_refused(&torn.stack.get("small").await);
    assert_eq!(torn.asked("small"), 3);
    torn.tear("small", IN_FOOTER, 3);
    assert_eq!(torn.stack.head("small").await.status, 500);
    torn.alarms(2);
    torn.asked("small");
    // Its end is known by now, and only its bytes are asked for.
    is_whole(&torn.stack.get("large").await, 200, &torn.large);
    torn.tear("large", 70, 3);
    is_refused(&torn.stack.get("large").await);
    assert_eq!(torn.asked("large"), 3);
    torn.alarms(3);
}

#[tokio::test]
async fn what_was_given_out_is_not_asked_for_again() {
    let torn = Torn::start().await;
    is_whole(&torn.stack.get("large").await, 200, &torn.large);
    torn.tear("large", 3 * CHUNK + 5, 1);
    let answer = torn.stack.get("large").await;
    assert!(!answer.complete && torn.large.starts_with(&answer.body) && answer.body.len() <= 3 * 65_536);
    assert_eq!(torn.asked("large"), 1);
    torn.alarms(1);
}
