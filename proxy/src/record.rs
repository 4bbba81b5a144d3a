//! Small records in the system area, sealed under the deployment's default key: whoever holds the storage can remove one
//! or put an older one back, and can neither make nor move one.

use bytes::Bytes;
use object_format::{
    Attempt, BucketKeyFlag, Envelope, EnvelopeHeader, EtagFact, KeyRef, Kind, Layout, Mode, ObjectName,
    SealedFacts,
};
use zeroize::Zeroizing;

use crate::backend::SystemId;
use crate::error::{Blame, Error, Result};
use crate::keys::random::SystemRandom;
use crate::keys::{Keyring, Scope};

/// Between the envelope, which is base64url, and the sealed bytes.
const SEPARATOR: u8 = b'\n';

/// Seals a record for its place. It is an object of our own format under a binding that no bucket can have, so that no
/// client can have one sealed.
pub(crate) async fn seal(keyring: &Keyring, system: &SystemId, name: &str, plain: &[u8]) -> Result<Bytes> {
    let binding = binding(system);
    let open = keyring.for_write(keyring.default_key(), Scope::Bucket { binding: &binding }).await?;
    let header = EnvelopeHeader {
        kind: Kind::Single,
        mode: Mode::SseS3,
        bucket_key: BucketKeyFlag::Shared,
        service: open.service.clone(),
        key_name: open.key_name.clone(),
        key_spelling: None,
        sealed_key: open.sealed.to_vec(),
        context: None,
    };
    let place = ObjectName { binding: &binding, key: name.as_bytes() };
    let failed = |e| Error::internal(format!("sealing a record: {e}"));
    let attempt = Attempt::single(plain.len() as u64, &mut SystemRandom);
    let envelope =
        attempt.envelope(header, KeyRef::Bucket(open.key()), &place, &mut SystemRandom).map_err(failed)?;
    let mut out = envelope.to_value().into_bytes();
    out.push(SEPARATOR);
    let mut sealer = attempt.into_sealer();
    sealer.push(plain, &mut |sealed| out.extend(sealed)).map_err(failed)?;
    out.extend(sealer.finish(&SealedFacts { etag: EtagFact::Opaque, checksum: None }).map_err(failed)?);
    Ok(out.into())
}

/// Opens what [`seal`] gave. `Ok(Err(why))`: it is not authentic; an error: its key cannot be had now.
pub(crate) async fn open(
    keyring: &Keyring,
    system: &SystemId,
    name: &str,
    stored: &[u8],
) -> Result<Result<Zeroizing<Vec<u8>>, &'static str>> {
    let at = stored.iter().position(|byte| *byte == SEPARATOR).unwrap_or_default();
    let (envelope, body) = (&stored[..at], &stored[at..]);
    let envelope = std::str::from_utf8(envelope).ok().and_then(|text| Envelope::parse(text).ok());
    let Some(envelope) = envelope else { return Ok(Err("it has no envelope")) };
    if envelope.header().mode != Mode::SseS3 || envelope.header().kind != Kind::Single {
        return Ok(Err("its envelope is not that of a record"));
    }
    let binding = binding(system);
    let place = ObjectName { binding: &binding, key: name.as_bytes() };
    let key = match keyring.for_read(envelope.header(), &binding, place.key).await {
        Err(error) if error.blame() == Blame::Tampered => return Ok(Err("its data key is not one of ours")),
        other => other?,
    };
    Ok(opened(&envelope, KeyRef::Bucket(key.key()), &place, &body[1..]))
}

fn opened(
    envelope: &Envelope,
    key: KeyRef<'_>,
    place: &ObjectName<'_>,
    body: &[u8],
) -> Result<Zeroizing<Vec<u8>>, &'static str> {
    let secrets = envelope.open(key, place).map_err(|_| "its envelope does not open here")?;
    let layout = Layout::single(&secrets).ok_or("its envelope is not that of a record")?;
    let mut opener = layout.full_opener(body.len() as u64);
    // Records may hold keys: room for all of it, so that growing leaves no copy behind.
    let mut plain = Zeroizing::new(Vec::with_capacity(body.len()));
    let mut emit = |bytes: Vec<u8>| plain.extend_from_slice(&Zeroizing::new(bytes));
    opener.push(body, &mut emit).map_err(|_| "its bytes were changed")?;
    opener.finish(&mut emit).map_err(|_| "its bytes were changed")?;
    Ok(plain)
}

/// What all records of a system area are bound to. Names of buckets have no blanks.
fn binding(system: &SystemId) -> String {
    format!("system area {}", hex::encode(system.as_bytes()))
}
