//! What a request says of its own signature: the Authorization header and the presigned query, parsed and no
//! more. Whether it is true is decided in `verify.rs`; what Version 2 says is read in `v2.rs`.

use http::HeaderMap;
use http::header::{AUTHORIZATION, DATE};
use time::format_description::well_known::Rfc2822;
use time::{Duration, OffsetDateTime};

use super::canonical::{ALGORITHM, Scope, TERMINATOR, format_timestamp, parse_timestamp};
use super::v2;
use crate::error::{Code, Error, Result};
use crate::s3::query::Query;
use crate::s3::{S3Request, headers};

/// Longest life of a presigned URL: a week.
pub(super) const MAX_EXPIRES: u64 = 604_800;

/// Where a signature stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Place {
    Header,
    /// Presigned; good for this long from its timestamp.
    Query(Duration),
}

/// Under which version a request claims to be signed.
pub(super) enum Signed {
    V4(Claim),
    V2(v2::Claim),
}

/// A parsed claim to be somebody, under Version 4. No Debug: it holds a signature that may still be good.
pub(super) struct Claim {
    pub(super) place: Place,
    pub(super) access_key: String,
    pub(super) scope: Scope,
    pub(super) time: OffsetDateTime,
    /// `time` as it stands in the string to sign.
    pub(super) timestamp: String,
    /// As sent: `host;x-amz-date`.
    pub(super) signed_headers: String,
    pub(super) signature: [u8; 32],
    /// Session token in the query; one in the headers is read from there.
    pub(super) query_token: Option<Vec<u8>>,
}

impl Signed {
    /// `None` for an anonymous request. `v2`: Version 2 is taken too.
    pub(super) fn parse(request: &S3Request, v2: bool) -> Result<Option<Self>> {
        let mut authorizations = request.headers.get_all(AUTHORIZATION).iter();
        let authorization = authorizations.next();
        let query = request.signed_query();
        let (old, new) = (headers::is_presigned_v2(query), headers::is_presigned_v4(query));
        let mechanisms = [authorization.is_some(), authorizations.next().is_some(), old, new];
        if mechanisms.into_iter().filter(|there| *there).count() > 1 {
            return Err(Error::client(
                Code::InvalidArgument,
                "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string \
                 parameter or the Authorization header should be specified.",
            )
            .field("ArgumentName", "Authorization"));
        }
        if let Some(value) = authorization {
            let text = value.to_str().map_err(|_| malformed("it is not ASCII"))?.trim();
            return match text.strip_prefix(v2::SCHEME) {
                None => Claim::from_header(text, &request.headers).map(|claim| Some(Self::V4(claim))),
                Some(_) if !v2 => Err(sigv2()),
                Some(rest) => {
                    v2::Claim::from_header(rest, &request.headers).map(|claim| Some(Self::V2(claim)))
                }
            };
        }
        match (new, old) {
            (true, _) => Claim::from_query(query).map(|claim| Some(Self::V4(claim))),
            (false, true) if !v2 => Err(sigv2()),
            (false, true) => v2::Claim::from_query(query).map(|claim| Some(Self::V2(claim))),
            (false, false) => Ok(None),
        }
    }
}

impl Claim {
    fn from_header(text: &str, headers: &HeaderMap) -> Result<Self> {
        // The value is not echoed: it may be another scheme's password.
        let (algorithm, rest) = text.split_once(' ').ok_or_else(|| {
            Error::client(
                Code::InvalidArgument,
                "Authorization header is invalid -- one and only one ' ' (space) required.",
            )
            .field("ArgumentName", "Authorization")
        })?;
        check_algorithm(algorithm)?;
        let (mut credential, mut signed_headers, mut signature) = (None, None, None);
        let parts: Vec<&str> = rest.split(',').map(str::trim).filter(|p| !p.is_empty()).collect();
        if parts.len() != 3 {
            return Err(malformed(
                "the authorization header requires three components: Credential, SignedHeaders, and Signature",
            ));
        }
        for part in parts {
            let (name, value) = part.split_once('=').ok_or_else(|| malformed_component(part))?;
            match name {
                "Credential" => credential = Some(value),
                "SignedHeaders" => signed_headers = Some(value),
                "Signature" => signature = Some(value),
                // Three parts, and one of them is not one of the three: one of the three is missing.
                _ => {}
            }
        }
        let credential = credential.ok_or_else(|| malformed("missing Credential"))?;
        let signed_headers = signed_headers.ok_or_else(|| malformed("missing SignedHeaders"))?;
        let signature = signature.ok_or_else(|| malformed("missing Signature"))?;
        let (access_key, scope) = parse_credential(credential).map_err(|why| malformed(&why))?;
        let time = header_time(headers)?;
        let timestamp = format_timestamp(time);
        if !timestamp.starts_with(&scope.date) {
            return Err(malformed("Invalid credential date. Date is not the same as X-Amz-Date"));
        }
        Ok(Self {
            place: Place::Header,
            access_key,
            scope,
            time,
            timestamp,
            signed_headers: parse_signed_headers(signed_headers).ok_or_else(|| {
                malformed("its SignedHeaders are not lower-case header names joined by `;`")
            })?,
            signature: parse_signature(signature)
                .ok_or_else(|| malformed("its Signature is not 64 lower-case hex digits"))?,
            query_token: None,
        })
    }

    fn from_query(query: &Query) -> Result<Self> {
        let one = |name: &'static str| -> Result<&str> {
            let mut found = query.iter().filter(|p| p.name.eq_ignore_ascii_case(name.as_bytes()));
            let value = found
                .next()
                .and_then(|p| std::str::from_utf8(p.value.as_deref()?).ok())
                .filter(|v| !v.is_empty())
                .ok_or_else(|| {
                    query_error(
                        "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, \
                         X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters.",
                    )
                })?;
            if found.next().is_some() {
                return Err(query_error(format!("{name} stands in the query twice.")));
            }
            Ok(value)
        };
        match one("X-Amz-Algorithm")? {
            ALGORITHM => {}
            other => {
                check_sigv4a(other)?;
                return Err(query_error(format!("X-Amz-Algorithm only supports \"{ALGORITHM}\"")));
            }
        }
        let credential = one("X-Amz-Credential")?;
        let timestamp = one("X-Amz-Date")?;
        let expires = one("X-Amz-Expires")?;
        let signed_headers = one("X-Amz-SignedHeaders")?;
        let signature = one("X-Amz-Signature")?;
        let (access_key, scope) = parse_credential(credential)
            .map_err(|why| query_error(format!("Error parsing the X-Amz-Credential parameter; {why}.")))?;
        let time = parse_timestamp(timestamp).ok_or_else(|| {
            query_error("X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\"")
        })?;
        if !timestamp.starts_with(&scope.date) {
            let day = timestamp.get(..8).unwrap_or(timestamp);
            return Err(query_error(format!(
                "Invalid credential date \"{}\". This date is not the same as X-Amz-Date: \"{day}\".",
                scope.date
            )));
        }
        Ok(Self {
            place: Place::Query(parse_expires(expires)?),
            access_key,
            scope,
            time,
            timestamp: timestamp.to_owned(),
            signed_headers: parse_signed_headers(signed_headers).ok_or_else(|| {
                query_error("X-Amz-SignedHeaders has to hold lower-case header names joined by `;`.")
            })?,
            signature: parse_signature(signature)
                .ok_or_else(|| query_error("X-Amz-Signature has to be 64 lower-case hex digits."))?,
            query_token: query
                .iter()
                .find(|p| p.name.eq_ignore_ascii_case(b"X-Amz-Security-Token"))
                .map(|p| p.value.clone().unwrap_or_default()),
        })
    }
}

/// `x-amz-date`, else `Date`, in any of their forms.
pub(super) fn header_time(headers: &HeaderMap) -> Result<OffsetDateTime> {
    let value = headers.get("x-amz-date").or_else(|| headers.get(DATE)).and_then(|v| v.to_str().ok());
    let http_date = |text: &str| httpdate::parse_http_date(text).ok().map(OffsetDateTime::from);
    // With an offset, `+0000`, as AWS's documentation of Version 2 writes it.
    let mail_date = |text: &str| OffsetDateTime::parse(text, &Rfc2822).ok();
    value
        .and_then(|text| parse_timestamp(text).or_else(|| http_date(text)).or_else(|| mail_date(text)))
        .ok_or_else(|| {
            Error::client(Code::AccessDenied, "AWS authentication requires a valid Date or x-amz-date header")
        })
}

/// S3's words for a credential that is none.
pub(super) const NO_CREDENTIAL: &str =
    "the Credential is mal-formed; expecting \"<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request\"";

/// `AKID/20130524/us-east-1/s3/aws4_request`; the access key may hold slashes. What is wrong with it, in AWS's words. Whether
/// the region may be empty is decided where the operation is known.
pub(super) fn parse_credential(text: &str) -> Result<(String, Scope), String> {
    fn named(part: Option<&str>) -> Result<&str, &'static str> {
        part.filter(|part| !part.is_empty()).ok_or(NO_CREDENTIAL)
    }
    let mut parts = text.rsplitn(5, '/');
    let (terminator, service) = (named(parts.next())?, named(parts.next())?);
    let region = parts.next().unwrap_or_default();
    let (date, access_key) = (named(parts.next())?, named(parts.next())?);
    if terminator != TERMINATOR {
        return Err(format!("incorrect terminal \"{terminator}\". This endpoint uses \"{TERMINATOR}\""));
    }
    if date.len() != 8 || !date.bytes().all(|b| b.is_ascii_digit()) {
        return Err(format!(
            "incorrect date format \"{date}\". This date in the credential must be in the format \"yyyyMMdd\""
        ));
    }
    let scope = Scope { date: date.to_owned(), region: region.to_owned(), service: service.to_owned() };
    Ok((access_key.to_owned(), scope))
}

fn parse_signed_headers(text: &str) -> Option<String> {
    let token = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'^' | b'`' | b'|' | b'~');
    let good = text.split(';').all(|name| !name.is_empty() && name.bytes().all(token));
    good.then(|| text.to_owned())
}

fn parse_signature(text: &str) -> Option<[u8; 32]> {
    super::parse_hex32(text)
}

fn parse_expires(text: &str) -> Result<Duration> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(query_error("X-Amz-Expires should be a number"));
    }
    if digits.len() != text.len() {
        return Err(query_error("X-Amz-Expires must be non-negative"));
    }
    match text.parse::<u64>() {
        Ok(0) => Err(query_error("X-Amz-Expires must be at least one second.")),
        Ok(seconds @ 1..=MAX_EXPIRES) => Ok(Duration::seconds(seconds as i64)),
        _ => Err(query_error(
            "X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less than \
             604800 seconds",
        )),
    }
}

pub(super) fn check_algorithm(algorithm: &str) -> Result<()> {
    if algorithm == ALGORITHM {
        return Ok(());
    }
    check_sigv4a(algorithm)?;
    if algorithm == "AWS" {
        return Err(sigv2());
    }
    Err(Error::client(Code::InvalidArgument, "Unsupported Authorization Type")
        .field("ArgumentName", "Authorization")
        .field("ArgumentValue", algorithm.to_owned()))
}

fn check_sigv4a(algorithm: &str) -> Result<()> {
    if !algorithm.starts_with("AWS4-ECDSA-") {
        return Ok(());
    }
    Err(Error::client(
        Code::NotImplemented,
        "Signature Version 4A (AWS4-ECDSA-P256-SHA256) is not supported. Sign for one region with AWS4-HMAC-SHA256; \
         do not use a multi-region access point.",
    ))
}

pub(super) fn sigv2() -> Error {
    Error::client(
        Code::InvalidRequest,
        "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256: in the AWS CLI \
         `aws configure set default.s3.signature_version s3v4`, in boto3 Config(signature_version='s3v4'). Signature \
         Version 2 is taken only where the operator switches compat.sigv2 on.",
    )
}

pub(super) fn malformed(why: &str) -> Error {
    Error::client(
        Code::AuthorizationHeaderMalformed,
        format!("The authorization header is malformed; {why}."),
    )
}

fn malformed_component(part: &str) -> Error {
    malformed(&format!("the authorization component \"{part}\" is malformed"))
}

pub(super) fn query_error(why: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::client(Code::AuthorizationQueryParametersError, why)
}
