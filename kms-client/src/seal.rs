//! How a data key is sealed under a 32-byte external key with cipher `AES256`: the construction that KES uses.
//! `AES-256-GCM(plaintext) ‖ 16-byte tag ‖ 16-byte iv ‖ 12-byte nonce`, its key `HMAC-SHA256(external key, iv)`, its
//! AAD the context. Randomness is an argument.

use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes256Gcm, Nonce, Tag};
use aws_lc_rs::hmac;
use zeroize::Zeroizing;

/// Bytes of a tag.
pub(crate) const TAG: usize = 16;
/// Bytes of the iv that diversifies the key.
pub(crate) const IV: usize = 16;
/// Bytes of the nonce.
pub(crate) const NONCE: usize = 12;
/// What sealing adds.
pub(crate) const OVERHEAD: usize = TAG + IV + NONCE;

fn aead(key: &[u8; 32], iv: &[u8; IV]) -> Aes256Gcm {
    let mut sealing = Zeroizing::new([0; 32]);
    sealing.copy_from_slice(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), iv).as_ref());
    Aes256Gcm::new((&*sealing).into())
}

/// Seals `plaintext`. The pair of iv and nonce must be fresh.
pub(crate) fn seal(
    key: &[u8; 32],
    plaintext: &[u8],
    context: &[u8],
    iv: &[u8; IV],
    nonce: &[u8; NONCE],
) -> Vec<u8> {
    let mut sealed = Vec::with_capacity(plaintext.len() + OVERHEAD);
    sealed.extend_from_slice(plaintext);
    let tag = aead(key, iv)
        .encrypt_inout_detached(&Nonce::from(*nonce), context, sealed.as_mut_slice().into())
        .expect("AES-GCM takes up to 64 GiB, and nobody seals as much as a key");
    sealed.extend_from_slice(&tag);
    sealed.extend_from_slice(iv);
    sealed.extend_from_slice(nonce);
    sealed
}

/// Opens what [`seal`] made; `None` for anything else.
pub(crate) fn open(key: &[u8; 32], sealed: &[u8], context: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (rest, nonce) = sealed.split_last_chunk::<NONCE>()?;
    let (rest, iv) = rest.split_last_chunk::<IV>()?;
    let (body, tag) = rest.split_last_chunk::<TAG>()?;
    open_parts(key, body, tag, iv, nonce, context)
}

/// Opens the parts that some older frame carried.
pub(crate) fn open_parts(
    key: &[u8; 32],
    body: &[u8],
    tag: &[u8; TAG],
    iv: &[u8; IV],
    nonce: &[u8; NONCE],
    context: &[u8],
) -> Option<Zeroizing<Vec<u8>>> {
    let mut plain = Zeroizing::new(body.to_vec());
    aead(key, iv)
        .decrypt_inout_detached(&Nonce::from(*nonce), context, plain.as_mut_slice().into(), &Tag::from(*tag))
        .ok()?;
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_only_what_it_sealed() {
        let key = [7; 32];
        let sealed = seal(&key, &[9; 32], b"ctx", &[1; IV], &[2; NONCE]);
        assert_eq!(sealed.len(), 76);
        assert_eq!(open(&key, &sealed, b"ctx").unwrap().as_slice(), &[9; 32]);
        assert!(open(&key, &sealed, b"cty").is_none());
        assert!(open(&key, &sealed, b"").is_none());
        assert!(open(&[8; 32], &sealed, b"ctx").is_none());
        for at in 0..sealed.len() {
            let mut bent = sealed.clone();
            bent[at] ^= 1;
            assert!(open(&key, &bent, b"ctx").is_none(), "bit flipped in byte {at}");
        }
        for cut in [0, 1, OVERHEAD - 1, OVERHEAD, 75] {
            assert!(open(&key, &sealed[..cut], b"ctx").is_none(), "cut to {cut}");
        }
        let mut longer = sealed.clone();
        longer.push(0);
        assert!(open(&key, &longer, b"ctx").is_none());
    }
}
