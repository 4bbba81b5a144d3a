//! How fast one core computes the hashes that a client or a configuration may ask for: no proxy that computes one can
//! be faster than that.

use std::hint::black_box;
use std::time::Instant;

use aws_lc_rs::digest;
use md5::{Digest as _, Md5};

const LENGTH: usize = 64 << 20;

/// Speeds in GB/s.
#[derive(Debug, Default)]
pub(super) struct Hashes {
    md5: Vec<f64>,
    sha256: Vec<f64>,
}

impl Hashes {
    /// Takes one sample of each, on this thread, while nothing else runs.
    pub(super) fn measure(&mut self) {
        let data = vec![0x5A_u8; LENGTH];
        let speed = |hash: &dyn Fn()| {
            let started = Instant::now();
            hash();
            LENGTH as f64 / 1e9 / started.elapsed().as_secs_f64()
        };
        self.md5.push(speed(&|| {
            black_box(Md5::digest(black_box(&data)));
        }));
        self.sha256.push(speed(&|| {
            black_box(digest::digest(&digest::SHA256, black_box(&data)));
        }));
    }

    pub(super) fn md5(&self) -> f64 {
        best(&self.md5)
    }

    pub(super) fn text(&self) -> String {
        format!("One core alone: MD5 {:.2} GB/s, SHA-256 {:.2} GB/s.\n", self.md5(), best(&self.sha256))
    }
}

/// What a core can do: the best sample, since everything that disturbs makes it slower.
fn best(samples: &[f64]) -> f64 {
    samples.iter().copied().fold(0.0, f64::max)
}
