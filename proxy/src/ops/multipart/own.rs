//! An upload of the proxy's own, for a copy in parts: on record from its beginning to its end, so that one whose process ended
//! in the middle is found (`uploads/own.rs`) and ended.

use super::behind;
use crate::error::Result;
use crate::info::Target;
use crate::services::Services;
use crate::uploads::UploadRef;

/// One that has begun and not ended.
pub(in crate::ops) struct OwnUpload<'a> {
    services: &'a Services,
    target: &'a Target<'a>,
    id: String,
}

impl<'a> OwnUpload<'a> {
    /// Puts the upload `id`, which has just begun, on record. It is given up where that fails.
    pub(in crate::ops) async fn on_record(
        services: &'a Services,
        target: &'a Target<'a>,
        id: String,
    ) -> Result<Self> {
        let this = Self { services, target, id };
        let uploads = &services.uploads;
        let created = uploads.now_ms();
        match uploads.keep_own(&services.keyring, target.backend, &this.place(), created).await {
            Ok(()) => Ok(this),
            Err(error) => {
                this.give_up().await;
                Err(error)
            }
        }
    }

    /// The backend's id of it.
    pub(in crate::ops) fn id(&self) -> &str {
        &self.id
    }

    /// It became an object, or is no more.
    pub(in crate::ops) async fn ended(&self) {
        if let Err(error) = self.services.uploads.forget_own(self.target.backend, &self.place()).await {
            tracing::warn!(%error, "the record of an ended copy is left behind");
        }
    }

    /// Ends it at the backend. Where that fails it stays on record, and is ended later.
    pub(in crate::ops) async fn give_up(&self) {
        if behind::give_up(self.target, &self.id).await {
            self.ended().await;
        }
    }

    fn place(&self) -> UploadRef<'_> {
        UploadRef { bucket: self.target.bucket, key: self.target.key, id: &self.id }
    }
}
