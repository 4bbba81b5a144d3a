//! What a backend lists of its multipart uploads, read for our own use. What clients see of it is edited in `s3/listing`
//! (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListMultipartUploads.html>).

use percent_encoding::percent_decode;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::tokens::{Broken, Tokens};
use crate::error::Result;

/// An upload that a backend has.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BackendUpload {
    /// Key of the object that it would be, decoded.
    pub key: Vec<u8>,
    /// Its id.
    pub id: String,
    /// When it was begun.
    pub initiated: Initiated,
}

/// A time as it stands in a listing.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Initiated {
    /// As it was written.
    pub text: String,
    /// What it means, if it is a time.
    pub at: Option<OffsetDateTime>,
}

/// A page of them.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct BackendUploads {
    /// In the backend's order.
    pub uploads: Vec<BackendUpload>,
    /// The markers of the next page, decoded, if there is more: key and upload id.
    pub next: Option<(Vec<u8>, String)>,
}

/// Reads a page of a backend's ListMultipartUploads.
pub fn parse_backend_uploads(body: &[u8]) -> Result<BackendUploads> {
    read(body).map_err(Broken::by_backend)
}

fn read(body: &[u8]) -> Result<BackendUploads, Broken> {
    let mut tokens = Tokens::new(body);
    let mut uploads = Vec::new();
    let (mut key_marker, mut id_marker) = (Vec::new(), String::new());
    let (mut truncated, mut encoded) = (false, false);
    tokens.root("ListMultipartUploadsResult")?;
    while let Some(element) = tokens.child()? {
        match element {
            b"Upload" => uploads.push(upload(&mut tokens)?),
            b"IsTruncated" => truncated = tokens.text()?.trim() == "true",
            b"EncodingType" => encoded = tokens.text()?.trim() == "url",
            b"NextKeyMarker" => key_marker = tokens.bytes()?.into_owned(),
            b"NextUploadIdMarker" => id_marker = tokens.text()?,
            _ => tokens.skip()?,
        }
    }
    if encoded {
        for key in uploads.iter_mut().map(|upload| &mut upload.key).chain([&mut key_marker]) {
            *key = percent_decode(key).collect();
        }
    }
    if truncated && key_marker.is_empty() {
        return Err(Broken::new("a truncated list of uploads without a marker"));
    }
    Ok(BackendUploads { uploads, next: truncated.then_some((key_marker, id_marker)) })
}

fn upload(tokens: &mut Tokens<'_>) -> Result<BackendUpload, Broken> {
    let (mut key, mut id, mut text) = (None, None, String::new());
    while let Some(element) = tokens.child()? {
        match element {
            b"Key" => key = Some(tokens.bytes()?.into_owned()),
            b"UploadId" => id = Some(tokens.text()?),
            b"Initiated" => text = tokens.text()?.trim().to_owned(),
            _ => tokens.skip()?,
        }
    }
    let at = OffsetDateTime::parse(&text, &Rfc3339).ok();
    match (key, id) {
        (Some(key), Some(id)) => Ok(BackendUpload { key, id, initiated: Initiated { text, at } }),
        _ => Err(Broken::new("an Upload without Key or UploadId")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;

    #[test]
    fn uploads_are_read_as_their_listing_encodes_them() {
        let page = |encoding: &str| {
            let document = format!(
                "<ListMultipartUploadsResult><Bucket>b</Bucket>{encoding}<Upload><UploadId>1</UploadId><Key>a%20b</Key>\
                 <Initiated>2026-01-02T03:04:05.000Z</Initiated><Owner><ID>x</ID></Owner></Upload><Upload><Key>c</Key>\
                 <UploadId>2</UploadId></Upload><IsTruncated>true</IsTruncated><NextKeyMarker>c%20</NextKeyMarker>\
                 <NextUploadIdMarker>2</NextUploadIdMarker></ListMultipartUploadsResult>"
            );
            parse_backend_uploads(document.as_bytes()).unwrap()
        };
        let plain = page("");
        assert_eq!((plain.uploads[0].key.as_slice(), plain.uploads[0].id.as_str()), (&b"a%20b"[..], "1"));
        assert_eq!(plain.uploads[0].initiated.at.unwrap().unix_timestamp(), 1_767_323_045);
        assert_eq!(plain.uploads[1].initiated, Initiated::default());
        assert_eq!(plain.next, Some((b"c%20".to_vec(), "2".to_owned())));
        let encoded = page("<EncodingType>url</EncodingType>");
        assert_eq!(encoded.uploads[0].key, b"a b");
        assert_eq!(encoded.next, Some((b"c ".to_vec(), "2".to_owned())));
    }

    #[test]
    fn what_is_no_page_of_uploads_is_refused() {
        for bad in [
            "<ListPartsResult/>",
            "<ListMultipartUploadsResult><Upload><Key>a</Key></Upload></ListMultipartUploadsResult>",
            "<ListMultipartUploadsResult><IsTruncated>true</IsTruncated></ListMultipartUploadsResult>",
            "<ListMultipartUploadsResult>",
        ] {
            assert_eq!(parse_backend_uploads(bad.as_bytes()).unwrap_err().code(), &Code::BadGateway, "{bad}");
        }
    }
}
