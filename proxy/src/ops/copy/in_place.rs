//! An object sealed anew where it is, with all that it has: for what has to get another key of its own, or its first one.

use time::OffsetDateTime;

use super::object::self_pins;
use super::pump::{Pump, Pumped, pump_object};
use crate::error::{Code, Result};
use crate::info::{self, Found, Target};
use crate::ops::write_key::WriteKey;
use crate::plan::copy::own_headers;
use crate::plan::write;
use crate::services::Services;

/// Seals the object at `target` anew under `key`. `found` is what a fresh look at its end told, `context` the length of the
/// client's encryption context. Where the backend honours conditions on writes, another writer wins.
///
/// `None`: it is another object by now, and was left alone.
pub(crate) async fn seal_in_place(
    services: &Services,
    target: &Target<'_>,
    found: &Found,
    key: &WriteKey,
    context: usize,
) -> Result<Option<Pumped>> {
    // With HEAD every backend shows a lock.
    let looked = info::look(services, target).await?;
    if looked.info.backend_etag != found.info.backend_etag {
        return Ok(None);
    }
    let mut headers = own_headers(&looked.headers, OffsetDateTime::now_utc())?;
    // Its size is no limit: what does not go at once goes in parts.
    write::check_limits(&headers, 0, context, &target.backend.config().limits)?;
    let pump = Pump { services, from: target, found, to: target, key, keeps_parts: true, checksum: None };
    headers.extend(self_pins(target, &found.info, pump.writing())?);
    match Box::pin(pump_object(&pump, headers)).await {
        Ok(pumped) => Ok(Some(pumped)),
        Err(error) if *error.code() == Code::PreconditionFailed => Ok(None),
        Err(error) => Err(error),
    }
}
