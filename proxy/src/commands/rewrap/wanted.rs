//! Which key and mode `rewrap` gives to each object, and which objects have them already.

use std::fmt;

use clap::ValueEnum;
use object_format::{BucketKeyFlag, EnvelopeHeader, Mode};

use crate::commands::Failure;
use crate::error::{Error, Result};
use crate::keys::{Keyring, ResolvedKey, Scope};
use crate::plan::sse::{BucketDefault, DeploymentSse};

/// A mode, as clients name it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(super) enum Sse {
    /// The deployment's own keys
    #[value(name = "AES256", alias = "aes256")]
    Aes256,
    /// A key with a name
    #[value(name = "aws:kms")]
    Kms,
}

impl Sse {
    fn mode(self) -> Mode {
        match self {
            Self::Aes256 => Mode::SseS3,
            Self::Kms => Mode::SseKms,
        }
    }
}

/// What objects get.
#[derive(Debug)]
pub(super) struct Wanted {
    /// `None`: each keeps its own.
    mode: Option<Mode>,
    /// The key's spelling, as answers show it; `None` is the deployment's default key.
    key_id: Option<String>,
    key: ResolvedKey,
    /// Of objects that change to another mode.
    per_object: bool,
    shows_bucket_key: bool,
}

impl Wanted {
    /// What the options ask for; what a new object would get without them.
    pub(super) fn new(
        keyring: &Keyring,
        default: &BucketDefault,
        sse: Option<Sse>,
        key_id: Option<String>,
    ) -> Result<Self, Failure> {
        let new = default.for_nothing_asked();
        let (mode, key_id) = match (sse.map(Sse::mode), key_id) {
            (None, None) => (Some(new.mode), new.key_id),
            (mode, Some(key_id)) => (mode, Some(key_id)),
            (Some(Mode::SseKms), None) => (Some(Mode::SseKms), default.key_id().map(str::to_owned)),
            (mode, None) => (mode, None),
        };
        let key =
            keyring.resolve(key_id.as_deref()).map_err(|error| Failure::Usage(error.message().to_owned()))?;
        Ok(Self { mode, key_id, key, per_object: new.per_object, shows_bucket_key: new.shows_bucket_key })
    }

    /// Makes sure that the key works before anything is touched.
    pub(super) async fn try_key(&self, keyring: &Keyring, binding: &str) -> Result<(), Failure> {
        let tried = keyring.for_write(&self.key, Scope::Bucket { binding }).await;
        tried.map(drop).map_err(|error| Failure::Failed(format!("key {}: {error}", self.key)))
    }

    /// Whether an object has it.
    pub(super) fn is_met(&self, sealed: &EnvelopeHeader) -> bool {
        self.mode.is_none_or(|mode| mode == sealed.mode)
            && sealed.service == self.key.service
            && sealed.key_name == self.key.name.as_str()
    }

    /// The encryption of one object. A context stays with it, and, where its mode stays, whether it has a key of its own.
    pub(super) fn for_object(&self, sealed: &EnvelopeHeader) -> Result<DeploymentSse> {
        let mode = self.mode.unwrap_or(sealed.mode);
        let stays = mode == sealed.mode;
        let context = sealed.context.clone().filter(|_| mode == Mode::SseKms && stays);
        let context = context.map(String::from_utf8).transpose();
        let context = context.map_err(|_| Error::tampered("an encryption context that is not text"))?;
        let (per_object, shows) = if stays {
            (sealed.bucket_key == BucketKeyFlag::PerObject, sealed.bucket_key == BucketKeyFlag::SharedShown)
        } else {
            (self.per_object, self.shows_bucket_key)
        };
        Ok(DeploymentSse {
            mode,
            key_id: self.key_id.clone(),
            bucket_key_id: None,
            key_named_by_client: false,
            per_object: per_object || context.is_some(),
            context,
            shows_bucket_key: shows && mode == Mode::SseKms,
        })
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mode = match self.mode {
            None => "in their own modes",
            Some(Mode::SseS3) => "as AES256",
            Some(Mode::SseKms) => "as aws:kms",
            Some(Mode::SseC) => "under a customer's key",
        };
        write!(f, "re-wrap under key {} {mode}", self.key)
    }
}
