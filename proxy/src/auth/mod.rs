//! WHO ASKS: verifying clients' signatures and rights, and signing what goes to the backend.
//! Only `verify.rs` can make a [`Verified`]; only `sign.rs` can make a signed request.

pub mod canonical;
mod claim;
mod identity;
mod payload;
mod policy;
pub mod sign;
mod store;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
pub(crate) mod tests;
mod v2;
#[cfg(test)]
mod v2_tests;
mod verify;

pub use identity::Identity;
pub use payload::{ChunkSigner, PayloadCheck};
pub use store::CredentialStore;
pub(crate) use verify::missing_field;
pub use verify::{Verified, VerifiedForm, verify, verify_form};

/// 64 hex digits in lower case, as every signature and hash of SigV4 is written.
fn parse_hex32(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || text.bytes().any(|b| b.is_ascii_uppercase()) {
        return None;
    }
    let mut out = [0; 32];
    hex::decode_to_slice(text, &mut out).ok()?;
    Some(out)
}

/// For the chunk decoder: the same reading of a signature.
pub(crate) fn parse_signature(text: &[u8]) -> Option<[u8; 32]> {
    parse_hex32(std::str::from_utf8(text).ok()?)
}
