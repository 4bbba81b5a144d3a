//! The bodies of multipart uploads: the list of parts that completes one, what the backend lists, and the answers
//! (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html>).

use super::tokens::{Broken, Tokens};
use super::write::Writer;
use crate::error::{Code, Error, Result};
use crate::s3::checksum::ChecksumAlgorithm;
use crate::s3::etag::{quote, unquote};
use crate::s3::query;

/// Most bytes of a CompleteMultipartUpload request: 10 000 parts of some 400 bytes, SHA-512 included.
pub const MAX_COMPLETE_BODY: usize = 4 << 20;
/// Most parts of an object.
const MAX_PARTS: usize = 10_000;

/// A part as CompleteMultipartUpload lists it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ListedPart {
    /// 1 to 10 000.
    pub number: u16,
    /// Its ETag, unquoted.
    pub etag: String,
    /// Its checksums as written: base64.
    pub checksums: Vec<(ChecksumAlgorithm, String)>,
}

/// Reads the list of parts. MalformedXML for an empty list, over 10 000 parts, numbers that no part has, and anything
/// that S3's schema does not have; InvalidArgument for a number below 1.
pub fn parse_complete(body: &[u8]) -> Result<Vec<ListedPart>> {
    let parts = complete(body).map_err(Broken::by_client)?;
    if parts.iter().any(|part| part.number == 0) {
        return Err(Error::client(Code::InvalidArgument, "PartNumber must be >= 1")
            .field("ArgumentName", "PartNumber"));
    }
    Ok(parts)
}

fn complete(body: &[u8]) -> Result<Vec<ListedPart>, Broken> {
    let mut tokens = Tokens::new(body);
    let mut parts = Vec::new();
    tokens.root("CompleteMultipartUpload")?;
    while let Some(name) = tokens.child()? {
        if name != b"Part" {
            return Err(Broken::new("an element that is no Part"));
        }
        if parts.len() == MAX_PARTS {
            return Err(Broken::new("over 10000 parts"));
        }
        parts.push(part(&mut tokens)?);
    }
    tokens.end()?;
    if parts.is_empty() {
        return Err(Broken::new("no parts"));
    }
    Ok(parts)
}

fn part(tokens: &mut Tokens<'_>) -> Result<ListedPart, Broken> {
    let (mut number, mut etag) = (None, None);
    let mut checksums = Vec::new();
    while let Some(name) = tokens.child()? {
        let element = std::str::from_utf8(name).unwrap_or_default();
        let algorithm = element.strip_prefix("Checksum").and_then(ChecksumAlgorithm::from_name);
        let text = tokens.text()?;
        let text = text.trim();
        let twice = match (element, algorithm) {
            ("PartNumber", _) => {
                // What is too low is zero here, and told apart by the caller.
                let parsed = match text.strip_prefix('-') {
                    Some(below) => query::number::<u16>(below).map(|_| 0),
                    None => query::number(text).filter(|n| *n <= 10_000),
                };
                number.replace(parsed.ok_or_else(|| Broken::new("a PartNumber over 10000"))?).is_some()
            }
            ("ETag", _) => etag.replace(unquote(text).to_owned()).is_some(),
            (_, Some(algorithm)) => {
                checksums.push((algorithm, text.to_owned()));
                false
            }
            _ => return Err(Broken::new("an element that no Part has")),
        };
        if twice {
            return Err(Broken::new("an element that stands twice"));
        }
    }
    match (number, etag) {
        (Some(number), Some(etag)) => Ok(ListedPart { number, etag, checksums }),
        _ => Err(Broken::new("a Part without PartNumber or ETag")),
    }
}

/// The list of parts for the backend: numbers and the backend's own ETags, unquoted.
pub fn render_complete<'a>(parts: impl IntoIterator<Item = (u16, &'a str)>) -> String {
    let mut writer = Writer::new("CompleteMultipartUpload");
    for (number, etag) in parts {
        writer.open("Part");
        writer.text("PartNumber", &number.to_string());
        writer.text("ETag", &quote(etag));
        writer.close();
    }
    writer.finish()
}

/// A page of a backend's ListParts.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct BackendParts {
    /// Part numbers and ETags, unquoted, in the backend's order. A number may stand more than once.
    pub etags: Vec<(u16, String)>,
    /// The marker of the next page, if there is more.
    pub next: Option<String>,
    /// Whose upload it is.
    pub about: AboutUpload,
}

/// What a backend says of an upload that is told to clients as it is.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct AboutUpload {
    /// Who began it.
    pub initiator: Option<Person>,
    /// Whose its object will be.
    pub owner: Option<Person>,
    /// The storage class of its object.
    pub storage_class: Option<String>,
}

/// An account, or a user of one.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Person {
    /// Its id.
    pub id: String,
    /// Its name, where it has one.
    pub name: Option<String>,
}

/// Reads a page of a backend's ListParts.
pub fn parse_backend_parts(body: &[u8]) -> Result<BackendParts> {
    backend_parts(body).map_err(Broken::by_backend)
}

fn backend_parts(body: &[u8]) -> Result<BackendParts, Broken> {
    let mut tokens = Tokens::new(body);
    let mut page = BackendParts::default();
    let mut truncated = false;
    tokens.root("ListPartsResult")?;
    while let Some(name) = tokens.child()? {
        match name {
            b"Part" => {
                let (mut number, mut etag) = (None, None);
                while let Some(name) = tokens.child()? {
                    match name {
                        b"PartNumber" => number = tokens.text()?.trim().parse().ok(),
                        b"ETag" => etag = Some(unquote(tokens.text()?.trim()).to_owned()),
                        _ => tokens.skip()?,
                    }
                }
                let (Some(number), Some(etag)) = (number, etag) else {
                    return Err(Broken::new("a Part without PartNumber or ETag"));
                };
                page.etags.push((number, etag));
            }
            b"IsTruncated" => truncated = tokens.text()?.trim() == "true",
            b"NextPartNumberMarker" => page.next = Some(tokens.text()?.trim().to_owned()),
            b"Initiator" => page.about.initiator = person(&mut tokens)?,
            b"Owner" => page.about.owner = person(&mut tokens)?,
            b"StorageClass" => {
                page.about.storage_class = Some(tokens.text()?).filter(|class| !class.is_empty());
            }
            _ => tokens.skip()?,
        }
    }
    if truncated && page.next.as_deref().is_none_or(str::is_empty) {
        return Err(Broken::new("a truncated list of parts without a marker"));
    }
    page.next = page.next.filter(|_| truncated);
    Ok(page)
}

/// `None` where it has no id.
pub(super) fn person(tokens: &mut Tokens<'_>) -> Result<Option<Person>, Broken> {
    let mut person = Person::default();
    while let Some(name) = tokens.child()? {
        match name {
            b"ID" => person.id = tokens.text()?,
            b"DisplayName" => person.name = Some(tokens.text()?).filter(|name| !name.is_empty()),
            _ => tokens.skip()?,
        }
    }
    Ok(Some(person).filter(|person| !person.id.is_empty()))
}

/// The upload id in a backend's answer to CreateMultipartUpload.
pub fn parse_initiated(body: &[u8]) -> Result<String> {
    let read = || {
        let mut tokens = Tokens::new(body);
        let mut id = None;
        tokens.root("InitiateMultipartUploadResult")?;
        while let Some(name) = tokens.child()? {
            match name {
                b"UploadId" => id = Some(tokens.text()?),
                _ => tokens.skip()?,
            }
        }
        id.filter(|id| !id.is_empty()).ok_or_else(|| Broken::new("an upload without an id"))
    };
    read().map_err(Broken::by_backend)
}

/// The answer to CreateMultipartUpload.
pub fn render_initiated(bucket: &str, key: &str, upload_id: &str) -> String {
    let mut writer = Writer::new("InitiateMultipartUploadResult");
    writer.text("Bucket", bucket);
    writer.text("Key", key);
    writer.text("UploadId", upload_id);
    writer.finish()
}

/// The answer to CompleteMultipartUpload.
#[derive(Clone, Debug)]
pub struct Completed<'a> {
    /// Where the object is, as the client reaches it.
    pub location: &'a str,
    /// Its bucket.
    pub bucket: &'a str,
    /// Its key.
    pub key: &'a str,
    /// Its ETag, unquoted.
    pub etag: &'a str,
    /// Its checksum: algorithm, text, type.
    pub checksum: Option<(ChecksumAlgorithm, String, &'a str)>,
}

/// Renders it.
pub fn render_completed(completed: &Completed<'_>) -> String {
    let mut writer = Writer::new("CompleteMultipartUploadResult");
    writer.text("Location", completed.location);
    writer.text("Bucket", completed.bucket);
    writer.text("Key", completed.key);
    writer.text("ETag", &quote(completed.etag));
    if let Some((algorithm, text, kind)) = &completed.checksum {
        writer.element(&format!("Checksum{}", algorithm.name()), text);
        writer.text("ChecksumType", kind);
    }
    writer.finish()
}

/// A part as ListParts shows it.
#[derive(Clone, Debug)]
pub struct ShownPart {
    /// Its number.
    pub number: u16,
    /// RFC 3339 with milliseconds.
    pub last_modified: String,
    /// Unquoted.
    pub etag: String,
    /// Plaintext bytes.
    pub size: u64,
    /// Its checksum, base64.
    pub checksum: String,
}

/// The answer to ListParts.
#[derive(Clone, Debug)]
pub struct PartList<'a> {
    /// The bucket.
    pub bucket: &'a str,
    /// The key, encoded as `encoding_type` says.
    pub key: &'a str,
    /// `url`, if the client asked for it.
    pub encoding_type: Option<&'a str>,
    /// The upload.
    pub upload_id: &'a str,
    /// Whose it is.
    pub about: &'a AboutUpload,
    /// Parts above this number were asked for.
    pub marker: u16,
    /// At most so many.
    pub max_parts: u16,
    /// Whether there are more.
    pub truncated: bool,
    /// The upload's algorithm and type, where the client asked for one.
    pub checksum: Option<(ChecksumAlgorithm, &'a str)>,
    /// In order of their numbers.
    pub parts: &'a [ShownPart],
}

/// Renders it.
pub fn render_part_list(list: &PartList<'_>) -> String {
    let mut writer = Writer::new("ListPartsResult");
    writer.text("Bucket", list.bucket);
    if let Some(encoding) = list.encoding_type {
        writer.text("EncodingType", encoding);
    }
    writer.text("Key", list.key);
    writer.text("UploadId", list.upload_id);
    write_people(&mut writer, list.about);
    writer.text("PartNumberMarker", &list.marker.to_string());
    let next = list.parts.last().map_or(list.marker, |part| part.number);
    writer.text("NextPartNumberMarker", &next.to_string());
    writer.text("MaxParts", &list.max_parts.to_string());
    writer.text("IsTruncated", if list.truncated { "true" } else { "false" });
    if let Some((algorithm, kind)) = list.checksum {
        writer.text("ChecksumAlgorithm", algorithm.name());
        writer.text("ChecksumType", kind);
    }
    for part in list.parts {
        writer.open("Part");
        writer.text("PartNumber", &part.number.to_string());
        writer.text("LastModified", &part.last_modified);
        writer.text("ETag", &quote(&part.etag));
        writer.text("Size", &part.size.to_string());
        if let Some((algorithm, _)) = list.checksum {
            writer.element(&format!("Checksum{}", algorithm.name()), &part.checksum);
        }
        writer.close();
    }
    writer.finish()
}

/// Whose an upload is, and its storage class.
pub(super) fn write_people(writer: &mut Writer, about: &AboutUpload) {
    for (element, person) in [("Initiator", &about.initiator), ("Owner", &about.owner)] {
        if let Some(person) = person {
            writer.open(element);
            writer.text("ID", &person.id);
            if let Some(name) = &person.name {
                writer.text("DisplayName", name);
            }
            writer.close();
        }
    }
    writer.text("StorageClass", about.storage_class.as_deref().unwrap_or("STANDARD"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn etags_may_stand_quoted_escaped_or_bare() {
        let body = b"<CompleteMultipartUpload xmlns='http://s3.amazonaws.com/doc/2006-03-01/'>\
            <Part><PartNumber>1</PartNumber><ETag>\"aa\"</ETag></Part>\
            <Part><ETag>&quot;bb&quot;</ETag><PartNumber>2</PartNumber><ChecksumSHA256>x=</ChecksumSHA256></Part>\
            <Part><PartNumber> 10000 </PartNumber><ETag>cc-1</ETag></Part></CompleteMultipartUpload>";
        let parts = parse_complete(body).unwrap();
        let seen: Vec<_> = parts.iter().map(|p| (p.number, p.etag.as_str())).collect();
        assert_eq!(seen, [(1, "aa"), (2, "bb"), (10_000, "cc-1")]);
        assert_eq!(parts[1].checksums, [(ChecksumAlgorithm::Sha256, "x=".to_owned())]);
    }

    #[test]
    fn what_is_no_list_of_parts_is_refused() {
        let one = "<Part><PartNumber>1</PartNumber><ETag>a</ETag></Part>";
        for bad in [
            String::new(),
            "<CompleteMultipartUpload/>".to_owned(),
            "<Other/>".to_owned(),
            format!("<CompleteMultipartUpload>{one}"),
            format!("<CompleteMultipartUpload>{}</CompleteMultipartUpload>", one.repeat(10_001)),
            "<CompleteMultipartUpload><Part><ETag>a</ETag></Part></CompleteMultipartUpload>".to_owned(),
            "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber></Part></CompleteMultipartUpload>"
                .to_owned(),
            format!("<CompleteMultipartUpload>{}</CompleteMultipartUpload>", one.replace('1', "10001")),
            format!(
                "<CompleteMultipartUpload>{}</CompleteMultipartUpload>",
                one.replace("</ETag>", "</ETag><X/>")
            ),
            format!("<!DOCTYPE a [<!ENTITY b 'c'>]><CompleteMultipartUpload>{one}</CompleteMultipartUpload>"),
        ] {
            assert_eq!(parse_complete(bad.as_bytes()).unwrap_err().code(), &Code::MalformedXml, "{bad:.80}");
        }
        for low in ["0", "-1", "-4"] {
            let bad = format!("<CompleteMultipartUpload>{}</CompleteMultipartUpload>", one.replace('1', low));
            assert_eq!(parse_complete(bad.as_bytes()).unwrap_err().code(), &Code::InvalidArgument, "{low}");
        }
    }

    #[test]
    fn a_backends_page_is_read_in_any_order() {
        let page = parse_backend_parts(
            b"<ListPartsResult><Part><PartNumber>2</PartNumber><ETag>&quot;b&quot;</ETag><Size>1</Size></Part>\
              <Part><ETag>\"a\"</ETag><PartNumber>1</PartNumber></Part><IsTruncated>true</IsTruncated>\
              <NextPartNumberMarker>2</NextPartNumberMarker></ListPartsResult>",
        )
        .unwrap();
        assert_eq!(page.etags, [(2, "b".to_owned()), (1, "a".to_owned())]);
        assert_eq!(page.next.as_deref(), Some("2"));
        assert_eq!(page.about, AboutUpload::default());
        let endless =
            parse_backend_parts(b"<ListPartsResult><IsTruncated>true</IsTruncated></ListPartsResult>");
        assert_eq!(endless.unwrap_err().code(), &Code::BadGateway);
        assert!(
            parse_initiated(b"<InitiateMultipartUploadResult><Key>k</Key></InitiateMultipartUploadResult>")
                .is_err()
        );
    }

    #[test]
    fn whose_an_upload_is_is_told_as_the_backend_tells_it() {
        let about = "<Initiator><ID>arn:1</ID><DisplayName>a&amp;b</DisplayName></Initiator>\
                     <Owner><ID>2</ID></Owner><StorageClass>STANDARD_IA</StorageClass>";
        let page =
            parse_backend_parts(format!("<ListPartsResult>{about}</ListPartsResult>").as_bytes()).unwrap();
        let list = |about: &AboutUpload| {
            render_part_list(&PartList {
                bucket: "b",
                key: "k",
                encoding_type: None,
                upload_id: "u",
                about,
                marker: 0,
                max_parts: 1,
                truncated: false,
                checksum: None,
                parts: &[],
            })
        };
        assert!(list(&page.about).contains(about), "{}", list(&page.about));
        // What has no id is nobody.
        let nobody = b"<ListPartsResult><Owner><ID></ID></Owner><Initiator/></ListPartsResult>";
        let shown = list(&parse_backend_parts(nobody).unwrap().about);
        assert!(!shown.contains("Owner") && !shown.contains("Initiator"), "{shown}");
        assert!(shown.contains("<StorageClass>STANDARD</StorageClass>"), "{shown}");
    }

    #[test]
    fn the_backends_list_reads_back_as_a_clients() {
        let body = render_complete([(1, "a"), (7, "b")]);
        let parts = parse_complete(body.as_bytes()).unwrap();
        assert_eq!(
            parts.iter().map(|p| (p.number, p.etag.as_str())).collect::<Vec<_>>(),
            [(1, "a"), (7, "b")]
        );
    }
}
