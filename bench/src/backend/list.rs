//! Listings: ListBuckets, ListObjects V1 and V2, with prefix, delimiter and paging.

use std::fmt::Write as _;
use std::ops::Bound;

use http::StatusCode;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::store::Store;
use super::{Query, Refusal};

const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/');

pub(super) fn buckets(store: &Store) -> String {
    let mut xml = String::from("<ListAllMyBucketsResult><Owner><ID>bench</ID></Owner><Buckets>");
    for name in store.lock().keys() {
        // Writing to a String does not fail.
        let _ = write!(
            xml,
            "<Bucket><Name>{name}</Name><CreationDate>2026-01-01T00:00:00.000Z</CreationDate></Bucket>"
        );
    }
    xml + "</Buckets></ListAllMyBucketsResult>"
}

pub(super) fn objects(store: &Store, bucket: &str, query: &Query) -> Result<String, Refusal> {
    let version2 = query.get("list-type") == Some("2");
    let encoded = query.get("encoding-type") == Some("url");
    let (prefix, delimiter) = (query.get("prefix").unwrap_or(""), query.get("delimiter").unwrap_or(""));
    let max: usize = query.get("max-keys").unwrap_or("1000").parse().map_err(|_| INVALID)?;
    let max = max.min(1000);
    let after = match query.get("continuation-token") {
        Some(token) => String::from_utf8(hex::decode(token).map_err(|_| INVALID)?).map_err(|_| INVALID)?,
        None => query.get("start-after").or(query.get("marker")).unwrap_or("").to_owned(),
    };
    let name = |name: &str| if encoded { utf8_percent_encode(name, PLAIN).to_string() } else { escape(name) };
    let buckets = store.lock();
    let objects = buckets.get(bucket).ok_or((StatusCode::NOT_FOUND, "NoSuchBucket"))?;
    let start =
        if after.as_str() < prefix { Bound::Included(prefix) } else { Bound::Excluded(after.as_str()) };
    let (mut contents, mut groups, mut count) = (String::with_capacity(256 << 10), String::new(), 0);
    let (mut last, mut more) = (String::new(), false);
    for (key, object) in objects.range::<str, _>((start, Bound::Unbounded)) {
        let Some(rest) = key.strip_prefix(prefix) else { break };
        let group = if delimiter.is_empty() { None } else { rest.find(delimiter) };
        let entry = group.map_or(key.as_str(), |at| &key[..prefix.len() + at + delimiter.len()]);
        if group.is_some() && (entry == after || entry == last) {
            continue;
        }
        if count == max {
            more = max > 0;
            break;
        }
        last = entry.to_owned();
        count += 1;
        // Writing to a String does not fail.
        let _ = if group.is_some() {
            write!(groups, "<CommonPrefixes><Prefix>{}</Prefix></CommonPrefixes>", name(entry))
        } else {
            let tag = escape(object.etag.to_str().unwrap_or(""));
            write!(
                contents,
                "<Contents><Key>{}</Key><LastModified>{}</LastModified><ETag>{tag}</ETag><Size>{}</Size>\
                 <StorageClass>STANDARD</StorageClass></Contents>",
                name(key),
                object.modified,
                object.body.size(),
            )
        };
    }
    let mut xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
         <Name>{bucket}</Name><Prefix>{}</Prefix><MaxKeys>{max}</MaxKeys><IsTruncated>{more}</IsTruncated>",
        name(prefix),
    );
    let _ = match (version2, more) {
        (true, true) => write!(
            xml,
            "<KeyCount>{count}</KeyCount><NextContinuationToken>{}</NextContinuationToken>",
            hex::encode(&last)
        ),
        (true, false) => write!(xml, "<KeyCount>{count}</KeyCount>"),
        (false, true) => write!(xml, "<NextMarker>{}</NextMarker>", name(&last)),
        (false, false) => Ok(()),
    };
    if encoded {
        xml.push_str("<EncodingType>url</EncodingType>");
    }
    Ok(xml + &contents + &groups + "</ListBucketResult>")
}

const INVALID: Refusal = (StatusCode::BAD_REQUEST, "InvalidArgument");

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
