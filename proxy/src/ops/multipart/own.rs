//! An upload of the proxy's own, for a copy in parts: on record from its beginning to its end, so that one whose process ended
//! in the middle is found (`uploads/own.rs`) and ended.

use std::convert::Infallible;

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
        match this.record().await {
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

    /// Does the work that it is for, and renews the record meanwhile: however long that takes, it is not old. Then it has
    /// become an object, or is given up.
    pub(in crate::ops) async fn carry<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let done = tokio::select! {
            done = work => done,
            never = self.renew() => match never {},
        };
        match &done {
            Ok(_) => self.ended().await,
            Err(_) => self.give_up().await,
        }
        done
    }

    /// Puts it on record again now and then.
    async fn renew(&self) -> Infallible {
        loop {
            tokio::time::sleep(self.services.uploads.renewal()).await;
            if let Err(error) = self.record().await {
                tracing::warn!(%error, "the record of a running copy was not renewed, and is tried again later");
            }
        }
    }

    async fn record(&self) -> Result<()> {
        let uploads = &self.services.uploads;
        let now = uploads.now_ms();
        uploads.keep_own(&self.services.keyring, self.target.backend, &self.place(), now).await
    }

    /// It became an object, or is no more.
    async fn ended(&self) {
        if let Err(error) = self.services.uploads.forget_own(self.target.backend, &self.place()).await {
            tracing::warn!(%error, "the record of an ended copy is left behind");
        }
    }

    /// Ends it at the backend. Where that fails it stays on record, and is ended later.
    async fn give_up(&self) {
        if behind::give_up(self.target, &self.id).await {
            self.ended().await;
        }
    }

    fn place(&self) -> UploadRef<'_> {
        UploadRef { bucket: self.target.bucket, key: self.target.key, id: &self.id }
    }
}
