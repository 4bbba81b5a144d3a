//! The system's randomness, handed to `object-format`, which draws none itself.

use object_format::Random;

/// Random bytes from AWS-LC's generator, seeded by the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemRandom;

impl Random for SystemRandom {
    fn fill(&mut self, out: &mut [u8]) {
        aws_lc_rs::rand::fill(out)
            .expect("AWS-LC itself aborts the process where the system gives no entropy");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fills_every_byte_afresh() {
        let (mut one, mut two) = ([0; 64], [0; 64]);
        SystemRandom.fill(&mut one);
        SystemRandom.fill(&mut two);
        assert_ne!(one, two);
        assert!(one[32..] != [0; 32] && one[..32] != [0; 32]);
    }
}
