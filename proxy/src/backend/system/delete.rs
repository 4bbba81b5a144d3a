//! Deletes many objects of the system area in few requests, whether or not the storage knows how.

use std::collections::HashSet;

use futures_util::{StreamExt, TryStreamExt, stream};
use http::{HeaderValue, Method, StatusCode, header};

use super::{MAX_ANSWER, SystemArea};
use crate::backend::Outgoing;
use crate::backend::failure::{Names, error_from};
use crate::error::Result;
use crate::s3::checksum::content_md5;
use crate::s3::name::ObjectKey;
use crate::s3::xml::{ObjectToDelete, parse_delete_result, render_delete};

/// Most objects of one DeleteObjects.
const MOST: usize = 1000;
/// Deletions at once of what goes one by one.
const AT_ONCE: usize = 16;

impl SystemArea {
    /// Deletes objects of the area; those that are not there count as deleted.
    pub async fn delete_all(&self, names: &[String]) -> Result<()> {
        for some in names.chunks(MOST) {
            let left = match some {
                [_] => some.to_vec(),
                _ => self.delete_together(some).await?,
            };
            let deletions = left.into_iter().map(|name| async move { self.delete(&name).await });
            stream::iter(deletions).buffer_unordered(AT_ONCE).try_collect::<()>().await?;
        }
        Ok(())
    }

    /// DeleteObjects. Gives the names of which it does not say that they are deleted: all of them where it refuses.
    async fn delete_together(&self, names: &[String]) -> Result<Vec<String>> {
        let system = &self.backend.config().system;
        let entry = |name: &String| {
            let key = ObjectKey::parse(format!("{}{name}", system.prefix))?;
            Ok(ObjectToDelete { key, version_id: None, etag: None, last_modified: None, size: None })
        };
        let entries = names.iter().map(entry).collect::<Result<Vec<_>>>()?;
        let document = render_delete(&entries);
        let out = Outgoing::bucket(Method::POST, &system.bucket)
            .flag("delete")
            .header(header::CONTENT_TYPE, HeaderValue::from_static("application/xml"))
            .header(header::HeaderName::from_static("content-md5"), content_md5(document.as_bytes()));
        let response = self.call(out, document.into()).await?;
        if response.status != StatusCode::OK {
            let error = error_from(response, &Names::default()).await;
            let status = error.code().status();
            let busy = status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED;
            return if busy { Err(error) } else { Ok(names.to_vec()) };
        }
        let result = parse_delete_result(&response.body.collect(MAX_ANSWER).await?)?;
        let deleted: HashSet<&[u8]> = result.deleted.iter().map(|deleted| deleted.key.as_slice()).collect();
        let left = |name: &&String| !deleted.contains(format!("{}{name}", system.prefix).as_bytes());
        Ok(names.iter().filter(left).cloned().collect())
    }
}
