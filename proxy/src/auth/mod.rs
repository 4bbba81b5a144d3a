//! WHO ASKS: verifying clients' signatures and rights, and signing what goes to the backend.
//! Only `verify.rs` can make a `Verified`; only `sign.rs` can make a signed request.
