//! Presigned URLs: made once for each request of a job, so that signing is no part of what is measured.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PercentEncodingMode, SignableBody, SignableRequest, SignatureLocation, SigningSettings,
    UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4::SigningParams;
use http::{HeaderName, Method, Request, Uri};
use serde::{Deserialize, Serialize};

use crate::Failure;

/// Where a load goes, and who it is.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Endpoint {
    /// `host:port`.
    pub(crate) address: String,
    pub(crate) access_key: String,
    pub(crate) secret_key: String,
}

impl Endpoint {
    /// The signed path and query for a request that carries `headers`, each of which is signed; `target` is a path and query
    /// in canonical encoding.
    pub(crate) fn presign(
        &self,
        method: &Method,
        target: &str,
        headers: &[(HeaderName, String)],
    ) -> Result<Uri, Failure> {
        let uri = format!("http://{}{target}", self.address);
        let mut settings = SigningSettings::default();
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        settings.signature_location = SignatureLocation::QueryParams;
        settings.expires_in = Some(Duration::from_secs(6 * 3600));
        let identity = Credentials::from_keys(&self.access_key, &self.secret_key, None).into();
        let params = SigningParams::builder()
            .identity(&identity)
            .region("us-east-1")
            .name("s3")
            .time(SystemTime::now())
            .settings(settings)
            .build()?
            .into();
        let headers = headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let signable = SignableRequest::new(method.as_str(), &uri, headers, SignableBody::UnsignedPayload)?;
        let (instructions, _) = sign(signable, &params)?.into_parts();
        let mut request = Request::builder().method(method).uri(&uri).body(())?;
        instructions.apply_to_request_http1x(&mut request);
        let signed = request.uri().path_and_query().ok_or("a URL without a path")?;
        Ok(signed.as_str().parse()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_signed_in_the_query() {
        let endpoint = Endpoint {
            address: "127.0.0.1:9000".to_owned(),
            access_key: "key".to_owned(),
            secret_key: "secret".to_owned(),
        };
        let copied = [(HeaderName::from_static("x-amz-copy-source"), "/bucket/key".to_owned())];
        for (headers, signed) in [(&[][..], "host&"), (&copied, "host%3Bx-amz-copy-source&")] {
            let uri =
                endpoint.presign(&Method::GET, "/bucket/key?list-type=2", headers).unwrap().to_string() + "&";
            assert!(uri.starts_with("/bucket/key?list-type=2&"), "{uri}");
            let signed = format!("X-Amz-SignedHeaders={signed}");
            for part in ["X-Amz-Algorithm=AWS4-HMAC-SHA256", "X-Amz-Signature=", &signed] {
                assert!(uri.contains(part), "{uri}");
            }
        }
    }
}
