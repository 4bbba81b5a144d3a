//! Listings to their end, page by page, and the making of buckets.

use std::time::Instant;

use http::Method;
use http_body_util::BodyExt as _;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::connection::{Connection, Prepared};
use super::{Job, Outcome};
use crate::Failure;

pub(super) async fn run(job: &Job, prefix: &str, expected: usize) -> Result<Outcome, Failure> {
    let mut connection = Connection::open(job).await?;
    let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let (mut keys, mut pages, mut bytes, mut token) = (0, 0, 0, String::new());
    let started = Instant::now();
    loop {
        let target = format!("?encoding-type=url&list-type=2&prefix={}{token}", encode(prefix));
        let prepared = Prepared::new(job, Method::GET, &target, 0)?;
        let page = connection.send(&prepared, None).await?.into_body().collect().await?.to_bytes();
        let page = std::str::from_utf8(&page)?;
        pages += 1;
        bytes += page.len() as u64;
        keys += page.matches("<Key>").count();
        let Some((_, next)) = page.split_once("<NextContinuationToken>") else { break };
        let next = next.split('<').next().unwrap_or("").replace("&quot;", "\"").replace("&amp;", "&");
        token = format!("&continuation-token={}", encode(&next));
    }
    let seconds = started.elapsed().as_secs_f64();
    if keys != expected {
        return Err(format!("a listing of {keys} keys instead of {expected}").into());
    }
    Ok(Outcome { seconds, requests: pages, bytes, ..Outcome::default() })
}

pub(super) async fn create_bucket(job: &Job) -> Result<Outcome, Failure> {
    let prepared = Prepared::new(job, Method::PUT, "", 0)?;
    Connection::open(job).await?.exchange(&prepared, None).await?;
    Ok(Outcome::default())
}
