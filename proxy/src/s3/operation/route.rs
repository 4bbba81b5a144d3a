//! Method, path level and subresource -> [`Operation`]. An unknown subresource is refused, never run as the bare
//! operation. Virtual hosts and keys are decided before, in `s3/target.rs`.

use http::{HeaderMap, Method};

use super::{Class, Level, Operation, Row, TABLE};
use crate::error::{Code, Error, Result};
use crate::s3::query::{Param, Query};

/// What decides the operation.
#[derive(Clone, Copy, Debug)]
pub struct Route<'a> {
    /// Request method.
    pub method: &'a Method,
    /// What the path addresses.
    pub level: Level,
    /// The client's query, without signing parameters.
    pub query: &'a Query,
    /// The client's headers: copy sources, form content types.
    pub headers: &'a HeaderMap,
}

/// Finds the operation, or says why there is none.
pub fn route(of: Route<'_>) -> Result<Operation> {
    if of.method == Method::OPTIONS && of.level != Level::Service {
        return Ok(Operation::Preflight);
    }
    let operation = match selected(of)? {
        Some(operation) => operation,
        None => bare(of)?,
    };
    // A refused operation is named rather than its parameters examined.
    if !matches!(operation.class(), Class::Refused(_)) {
        check_parameters(operation, of)?;
    }
    Ok(operation)
}

/// The operation that a query parameter names. Two that contradict each other are refused.
fn selected(of: Route<'_>) -> Result<Option<Operation>> {
    let mut found: Option<&Row> = None;
    for param in of.query.iter() {
        let Some(row) = TABLE.iter().find(|row| selects(row, of, &param.name)) else { continue };
        match found {
            Some(earlier) if earlier.selector == row.selector => {}
            Some(earlier) if matches!(earlier.class, Class::Refused(_)) => {}
            Some(_) if matches!(row.class, Class::Refused(_)) => found = Some(row),
            Some(earlier) => {
                return Err(Error::client(
                    Code::InvalidArgument,
                    format!("Conflicting query string parameters: {}, {}.", earlier.selector, row.selector),
                )
                .field("ArgumentName", "ResourceType")
                .field("ArgumentValue", row.selector));
            }
            None => found = Some(row),
        }
    }
    found.map(|row| refine(row.operation, of)).transpose()
}

fn selects(row: &Row, of: Route<'_>, name: &[u8]) -> bool {
    !row.selector.is_empty()
        && row.selector.as_bytes() == name
        && row.level == of.level
        && row.method == of.method.as_str()
}

/// Tells operations apart that share method and subresource.
fn refine(operation: Operation, of: Route<'_>) -> Result<Operation> {
    use Operation as O;
    Ok(match operation {
        O::UploadPart => {
            if !of.query.has("partNumber") {
                return Err(Error::client(
                    Code::InvalidArgument,
                    "This operation needs a partNumber beside its uploadId.",
                )
                .field("ArgumentName", "partNumber"));
            }
            if of.headers.contains_key("x-amz-copy-source") { O::UploadPartCopy } else { O::UploadPart }
        }
        O::GetObjectAnnotation if !of.query.has("annotationName") => O::ListObjectAnnotations,
        O::GetBucketAnalyticsConfiguration if !of.query.has("id") => O::ListBucketAnalyticsConfigurations,
        O::GetBucketMetricsConfiguration if !of.query.has("id") => O::ListBucketMetricsConfigurations,
        O::GetBucketIntelligentTieringConfiguration if !of.query.has("id") => {
            O::ListBucketIntelligentTieringConfigurations
        }
        O::GetBucketInventoryConfiguration if !of.query.has("id") => O::ListBucketInventoryConfigurations,
        O::ListObjectsV2 if of.query.get("list-type") != Some(b"2") => {
            return Err(Error::client(Code::InvalidArgument, "Invalid List Type specified in Request.")
                .field("ArgumentName", "list-type"));
        }
        other => other,
    })
}

/// The operation of a request without a subresource.
fn bare(of: Route<'_>) -> Result<Operation> {
    use Operation as O;
    Ok(match (of.level, of.method.as_str()) {
        (Level::Service, "GET") => O::ListBuckets,
        (Level::Service, "POST") => O::QueryApi,
        (Level::Bucket, "GET") => O::ListObjects,
        (Level::Bucket, "HEAD") => O::HeadBucket,
        (Level::Bucket, "PUT") => O::CreateBucket,
        (Level::Bucket, "DELETE") => O::DeleteBucket,
        (Level::Bucket, "POST") if of.headers.contains_key("x-amz-request-route") => {
            O::WriteGetObjectResponse
        }
        (Level::Bucket, "POST") if is_form(of.headers) => O::PostObject,
        (Level::Bucket, "POST") if of.query.is_empty() => {
            return Err(Error::client(
                Code::PreconditionFailed,
                "At least one of the pre-conditions you specified did not hold",
            )
            .field("Condition", "Bucket POST must be of the enclosure-type multipart/form-data"));
        }
        (Level::Object, "GET") => O::GetObject,
        (Level::Object, "HEAD") => O::HeadObject,
        (Level::Object, "PUT") if of.headers.contains_key("x-amz-copy-source") => O::CopyObject,
        (Level::Object, "PUT") => O::PutObject,
        (Level::Object, "DELETE") => O::DeleteObject,
        // A POST to a bucket or key may only name a subresource that is not known.
        (Level::Bucket | Level::Object, "POST") if !of.query.is_empty() => return Err(unknown(of)),
        _ => {
            return Err(Error::client(
                Code::MethodNotAllowed,
                "The specified method is not allowed against this resource.",
            )
            .field("Method", of.method.as_str())
            .field(
                "ResourceType",
                match of.level {
                    Level::Service => "SERVICE",
                    Level::Bucket => "BUCKET",
                    Level::Object => "OBJECT",
                },
            ));
        }
    })
}

fn is_form(headers: &HeaderMap) -> bool {
    headers
        .get(http::header::CONTENT_TYPE)
        .is_some_and(|v| v.as_bytes().to_ascii_lowercase().starts_with(b"multipart/form-data"))
}

/// A parameter that the operation does not know is ignored on a read if it has a value (cache busters). Everywhere
/// else it may be a subresource that nobody here has heard of, and running the bare operation in its place
/// overwrites or deletes.
fn check_parameters(operation: Operation, of: Route<'_>) -> Result<()> {
    let read = *of.method == Method::GET || *of.method == Method::HEAD;
    let harmless = |p: &Param| {
        operation.knows_parameter(&p.name)
            || never_selects(&p.name)
            || (read && p.value.as_ref().is_some_and(|v| !v.is_empty()))
    };
    if of.query.iter().all(harmless) { Ok(()) } else { Err(unknown(of)) }
}

/// Parameters that SDKs and browsers add to any operation.
fn never_selects(name: &[u8]) -> bool {
    name == b"x-id" || name.starts_with(b"response-")
}

fn unknown(of: Route<'_>) -> Error {
    let names: Vec<_> = of
        .query
        .iter()
        .filter(|p| !never_selects(&p.name))
        .map(|p| String::from_utf8_lossy(&p.name).chars().take(64).collect::<String>())
        .take(4)
        .collect();
    Error::client(
        Code::NotImplemented,
        format!(
            "A query parameter that you provided implies functionality that is not implemented: {}.",
            names.join(", ")
        ),
    )
}
