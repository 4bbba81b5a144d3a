//! Uploads that the proxy makes for itself, for copies in parts: no client hears of them, and none can use them. They are on
//! record, so that one whose process ended in the middle can be told from uploads that were made past the proxy.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::folder::Folder;
use super::{Owner, UploadRef, Uploads};
use crate::backend::Backend;
use crate::error::{Error, Result};
use crate::keys::Keyring;
use crate::record;

/// Version of the document that this release writes and reads.
const VERSION: u32 = 1;

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: u32,
    bucket: String,
    key: String,
    upload: String,
    created: u64,
}

impl Uploads {
    /// Puts an upload on record as the proxy's own; once more, where it is there already.
    pub async fn keep_own(
        &self,
        keyring: &Keyring,
        backend: &Backend,
        at: &UploadRef<'_>,
        created_ms: u64,
    ) -> Result<()> {
        let area = backend.system().await?;
        let name = Folder::of(at).own();
        let document = Document {
            version: VERSION,
            bucket: at.bucket.as_str().to_owned(),
            key: URL_SAFE_NO_PAD.encode(at.key.as_bytes()),
            upload: at.id.to_owned(),
            created: created_ms,
        };
        let plain = serde_json::to_vec(&document).map_err(|e| Error::internal(format!("an upload: {e}")))?;
        let sealed = record::seal(keyring, area.id(), &name, &plain).await?;
        area.put(&name, sealed).await
    }

    /// Takes it off the record, once it has ended.
    pub async fn forget_own(&self, backend: &Backend, at: &UploadRef<'_>) -> Result<()> {
        backend.system().await?.delete(&Folder::of(at).own()).await
    }
}

/// Whose record one is.
pub(super) fn read(plain: &[u8]) -> Result<Owner, &'static str> {
    let document =
        serde_json::from_slice(plain).ok().filter(|document: &Document| document.version == VERSION);
    let Document { bucket, key, upload, created, .. } = document.ok_or("a later release wrote it")?;
    Owner::of(&bucket, &key, upload, created)
}
