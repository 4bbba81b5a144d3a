//! `inspect` with the object's key: unwraps the envelope and opens the trailer.

use object_format::{Envelope, KeyRef, Mode, ObjectName, TrailerRead, open_trailer};

use super::report::Opened;
use super::source::Stored;
use crate::config::Config;
use crate::keys::Keyring;
use crate::s3::name::{BucketName, ObjectKey};

/// Tries to open; whatever goes wrong is part of the report.
pub(super) async fn open(
    config: &Config,
    bucket: &BucketName,
    key: &ObjectKey,
    envelope: &Envelope,
    stored: &Stored,
) -> Opened {
    let (Some(size), Some(tail)) = (stored.size, stored.tail.as_deref()) else {
        return Opened::No("the storage told no size".to_owned());
    };
    if envelope.header().mode == Mode::SseC {
        return Opened::No("only the customer has the key".to_owned());
    }
    let keyring = match Keyring::from_config(&config.keys) {
        Ok(keyring) => keyring,
        Err(error) => return Opened::No(error.to_string()),
    };
    let rule = config.buckets.rule(bucket);
    let binding = rule.binding.as_deref().unwrap_or(bucket.as_str());
    let data_key = match keyring.for_read(envelope.header(), binding, key.as_bytes()).await {
        Ok(data_key) => data_key,
        Err(error) => return Opened::No(error.to_string()),
    };
    let name = ObjectName { binding, key: key.as_bytes() };
    let Ok(secrets) = envelope.open(KeyRef::Bucket(data_key.key()), &name) else {
        return Opened::No(format!(
            "the envelope is not authentic for {bucket} (bound to {binding:?}) and this key"
        ));
    };
    match open_trailer(&secrets, tail, size) {
        Ok(TrailerRead::Ready(trailer)) => Opened::Yes(Box::new(trailer)),
        Ok(TrailerRead::NeedMore { tail_bytes }) => {
            Opened::No(format!("the trailer takes {tail_bytes} bytes, and the storage gave {}", tail.len()))
        }
        Err(error) => Opened::No(format!("the envelope is authentic, the trailer is not: {error}")),
    }
}
