//! Whether the backend keeps keys apart that a file system takes for one. Where it does not, one would overwrite the
//! other, and neither could be opened under the other's name.

use bytes::Bytes;
use http::Method;

use super::{OLD, Outgoing, Probe, refused};
use crate::backend::folding::Fold;
use crate::backend::profile::Profile;
use crate::error::Result;
use crate::s3::name::ObjectKey;

impl Probe<'_> {
    pub(super) async fn names(&mut self, profile: &mut Profile) -> Result<()> {
        for fold in Fold::ALL {
            if self.is_folded(fold).await? {
                profile.folds.insert(fold);
            }
        }
        let folded: Vec<&str> = profile.folds.iter().map(|fold| fold.what()).collect();
        let detail = if folded.is_empty() {
            "kept apart".to_owned()
        } else {
            format!("taken for other keys, and so refused, where a key has {}", folded.join(", "))
        };
        self.note("keys with `//`, `.`, `..` and the like", folded.is_empty(), detail);
        Ok(())
    }

    async fn is_folded(&self, fold: Fold) -> Result<bool> {
        let (plain, odd) = match fold {
            Fold::LeadingSlash => ("folds/leading", "folds/leading"),
            Fold::EmptySegment => ("folds/empty/b", "folds/empty//b"),
            Fold::Dot => ("folds/dot/b", "folds/dot/./b"),
            Fold::DotDot => ("folds/up/b", "folds/up/a/../b"),
            Fold::Backslash => ("folds/back/b", "folds/back\\b"),
        };
        self.store(plain, OLD).await?;
        let name = |method| -> Result<Outgoing> {
            let mut out = self.object(method, odd)?;
            if fold == Fold::LeadingSlash {
                let key = out.key.take().ok_or_else(|| refused("a name of the system area without a key"))?;
                out.key = Some(ObjectKey::parse([b"/", key.as_bytes()].concat())?);
            }
            Ok(out)
        };
        // No answer is no fold: the read below tells whether the backend is there at all.
        if let Ok(answer) = self.send(name(Method::GET)?, Bytes::new()).await
            && answer.is_success()
            && answer.body.prefix(OLD.len() + 1).await == OLD
        {
            return Ok(true);
        }
        // Written it would lie beside the system area.
        if fold == Fold::LeadingSlash {
            return Ok(false);
        }
        // It may be found only where it was written, through a folder that was not there before.
        let _ = self.send(name(Method::PUT)?, Bytes::from_static(b"under another name")).await;
        let folded = self.read(plain).await?.as_deref() != Some(OLD);
        let _ = self.send(name(Method::DELETE)?, Bytes::new()).await;
        Ok(folded)
    }
}
