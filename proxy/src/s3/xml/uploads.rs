//! What a backend lists of its multipart uploads, and the list that clients get where the backend's own does not do.
//! A backend's page that does is edited in `s3/listing`
//! (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListMultipartUploads.html>).

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::multipart::{AboutUpload, person, write_people};
use super::tokens::{Broken, Tokens};
use super::write::Writer;
use crate::error::Result;
use crate::s3::name::{decode_listed, encode_path};

/// An upload that a backend has.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BackendUpload {
    /// Key of the object that it would be, decoded.
    pub key: Vec<u8>,
    /// Its id.
    pub id: String,
    /// When it was begun.
    pub initiated: Initiated,
    /// Whose it is.
    pub about: AboutUpload,
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
    /// Where the next page begins, if there is more.
    pub next: Option<UploadMarker>,
}

/// Behind which upload a page begins. Some backends give one half of it alone.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct UploadMarker {
    /// Decoded; may be empty.
    pub key: Vec<u8>,
    /// May be empty.
    pub id: String,
}

/// Reads a page of a backend's ListMultipartUploads.
pub fn parse_backend_uploads(body: &[u8]) -> Result<BackendUploads> {
    read(body).map_err(Broken::by_backend)
}

fn read(body: &[u8]) -> Result<BackendUploads, Broken> {
    let mut tokens = Tokens::new(body);
    let mut uploads = Vec::new();
    let mut marker = UploadMarker::default();
    let (mut truncated, mut encoded) = (false, false);
    tokens.root("ListMultipartUploadsResult")?;
    while let Some(element) = tokens.child()? {
        match element {
            b"Upload" => uploads.push(upload(&mut tokens)?),
            b"IsTruncated" => truncated = tokens.text()?.trim() == "true",
            b"EncodingType" => encoded = tokens.text()?.trim() == "url",
            b"NextKeyMarker" => marker.key = tokens.bytes()?.into_owned(),
            b"NextUploadIdMarker" => marker.id = tokens.text()?,
            _ => tokens.skip()?,
        }
    }
    if encoded {
        for key in uploads.iter_mut().map(|upload| &mut upload.key).chain([&mut marker.key]) {
            *key = decode_listed(key);
        }
    }
    if truncated && marker == UploadMarker::default() {
        return Err(Broken::new("a truncated list of uploads without a marker"));
    }
    Ok(BackendUploads { uploads, next: truncated.then_some(marker) })
}

fn upload(tokens: &mut Tokens<'_>) -> Result<BackendUpload, Broken> {
    let (mut key, mut id, mut text) = (None, None, String::new());
    let mut about = AboutUpload::default();
    while let Some(element) = tokens.child()? {
        match element {
            b"Key" => key = Some(tokens.bytes()?.into_owned()),
            b"UploadId" => id = Some(tokens.text()?),
            b"Initiated" => text = tokens.text()?.trim().to_owned(),
            b"Initiator" => about.initiator = person(tokens)?,
            b"Owner" => about.owner = person(tokens)?,
            b"StorageClass" => about.storage_class = Some(tokens.text()?).filter(|class| !class.is_empty()),
            _ => tokens.skip()?,
        }
    }
    let at = OffsetDateTime::parse(&text, &Rfc3339).ok();
    match (key, id) {
        (Some(key), Some(id)) => Ok(BackendUpload { key, id, initiated: Initiated { text, at }, about }),
        _ => Err(Broken::new("an Upload without Key or UploadId")),
    }
}

/// The answer to ListMultipartUploads. Names are as they are; they are written as the client asked.
#[derive(Clone, Debug)]
pub struct UploadList<'a> {
    /// The bucket.
    pub bucket: &'a str,
    /// Whether the client asked for `encoding-type=url`.
    pub url: bool,
    /// What keys had to begin with.
    pub prefix: &'a [u8],
    /// What keys were grouped by.
    pub delimiter: &'a [u8],
    /// Behind what the page had to begin.
    pub marker: &'a UploadMarker,
    /// At most so many entries.
    pub max_uploads: u16,
    /// Behind what the next page begins, if there is one.
    pub next: Option<&'a UploadMarker>,
    /// In order of their keys and ids.
    pub uploads: &'a [&'a BackendUpload],
    /// In order.
    pub common_prefixes: &'a [&'a [u8]],
}

/// Renders it.
pub fn render_upload_list(list: &UploadList<'_>) -> String {
    let name = |bytes: &[u8]| match list.url {
        true => encode_path(bytes),
        false => String::from_utf8_lossy(bytes).into_owned(),
    };
    let mut writer = Writer::new("ListMultipartUploadsResult");
    writer.text("Bucket", list.bucket);
    writer.text("KeyMarker", &name(&list.marker.key));
    writer.text("UploadIdMarker", &list.marker.id);
    if let Some(next) = list.next {
        writer.text("NextKeyMarker", &name(&next.key));
        writer.text("NextUploadIdMarker", &next.id);
    }
    writer.text("Prefix", &name(list.prefix));
    if !list.delimiter.is_empty() {
        writer.text("Delimiter", &name(list.delimiter));
    }
    if list.url {
        writer.text("EncodingType", "url");
    }
    writer.text("MaxUploads", &list.max_uploads.to_string());
    writer.text("IsTruncated", if list.next.is_some() { "true" } else { "false" });
    for upload in list.uploads {
        writer.open("Upload");
        writer.text("Key", &name(&upload.key));
        writer.text("UploadId", &upload.id);
        write_people(&mut writer, &upload.about);
        writer.text("Initiated", &upload.initiated.text);
        writer.close();
    }
    for prefix in list.common_prefixes {
        writer.open("CommonPrefixes");
        writer.text("Prefix", &name(prefix));
        writer.close();
    }
    writer.finish()
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
                 <Initiated>2026-01-02T03:04:05.000Z</Initiated><Owner><ID>x</ID></Owner></Upload><Upload><Key>c+d</Key>\
                 <UploadId>2</UploadId></Upload><IsTruncated>true</IsTruncated><NextKeyMarker>c%20</NextKeyMarker>\
                 <NextUploadIdMarker>2</NextUploadIdMarker></ListMultipartUploadsResult>"
            );
            parse_backend_uploads(document.as_bytes()).unwrap()
        };
        let plain = page("");
        assert_eq!((plain.uploads[0].key.as_slice(), plain.uploads[0].id.as_str()), (&b"a%20b"[..], "1"));
        assert_eq!(plain.uploads[0].initiated.at.unwrap().unix_timestamp(), 1_767_323_045);
        assert_eq!(plain.uploads[1].initiated, Initiated::default());
        assert_eq!(
            (plain.uploads[1].key.as_slice(), plain.uploads[0].about.owner.as_ref().unwrap().id.as_str()),
            (&b"c+d"[..], "x")
        );
        assert_eq!(plain.next, Some(UploadMarker { key: b"c%20".to_vec(), id: "2".to_owned() }));
        let encoded = page("<EncodingType>url</EncodingType>");
        assert_eq!(
            (encoded.uploads[0].key.as_slice(), encoded.uploads[1].key.as_slice()),
            (&b"a b"[..], &b"c d"[..])
        );
        assert_eq!(encoded.next, Some(UploadMarker { key: b"c ".to_vec(), id: "2".to_owned() }));
        let half = b"<ListMultipartUploadsResult><IsTruncated>true</IsTruncated><NextUploadIdMarker>3</NextUploadIdMarker>\
                     </ListMultipartUploadsResult>";
        let half = parse_backend_uploads(half).unwrap();
        assert_eq!(half.next, Some(UploadMarker { key: Vec::new(), id: "3".to_owned() }));
    }

    #[test]
    fn a_list_is_written_as_the_client_asked() {
        let upload = BackendUpload {
            key: b"a b/<c>".to_vec(),
            id: "1".to_owned(),
            initiated: Initiated { text: "2026-01-02T03:04:05.000Z".to_owned(), at: None },
            about: AboutUpload::default(),
        };
        let (marker, next) =
            (UploadMarker::default(), UploadMarker { key: b"p q/".to_vec(), id: String::new() });
        let render = |url, next| {
            render_upload_list(&UploadList {
                bucket: "b",
                url,
                prefix: b"",
                delimiter: b"/",
                marker: &marker,
                max_uploads: 2,
                next,
                uploads: &[&upload],
                common_prefixes: &[b"p q/"],
            })
        };
        let plain = render(false, None);
        assert!(
            plain.contains("<Key>a b/&lt;c&gt;</Key><UploadId>1</UploadId><StorageClass>STANDARD<"),
            "{plain}"
        );
        assert!(plain.contains("<CommonPrefixes><Prefix>p q/</Prefix>"), "{plain}");
        assert!(plain.contains("<IsTruncated>false<") && !plain.contains("NextKeyMarker"), "{plain}");
        let encoded = render(true, Some(&next));
        assert!(
            encoded.contains("<Key>a%20b/%3Cc%3E</Key>") && encoded.contains("<EncodingType>url<"),
            "{encoded}"
        );
        assert!(encoded.contains("<NextKeyMarker>p%20q/</NextKeyMarker><NextUploadIdMarker><"), "{encoded}");
        assert_eq!(parse_backend_uploads(encoded.as_bytes()).unwrap().uploads[0].key, upload.key);
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
