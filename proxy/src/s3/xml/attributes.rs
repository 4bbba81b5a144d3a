//! The answer to GetObjectAttributes.

use super::write::Writer;
use crate::s3::checksum::ChecksumAlgorithm;

/// What was asked for of an object; what was not, or is not known, is left out.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ObjectAttributes {
    /// Unquoted, as this operation shows it.
    pub etag: Option<String>,
    /// Algorithm, value without a number of parts, and type.
    pub checksum: Option<(ChecksumAlgorithm, String, &'static str)>,
    /// Of multipart objects.
    pub parts: Option<ObjectParts>,
    /// Its storage class.
    pub storage_class: Option<String>,
    /// In bytes.
    pub size: Option<u64>,
}

/// The parts of a multipart object.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ObjectParts {
    /// How many there are in all.
    pub count: usize,
    /// One page of them; `None` where their checksums are not known, as S3 does then.
    pub page: Option<PartsPage>,
}

/// One page of parts.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PartsPage {
    /// The part behind which it begins, as asked for.
    pub marker: usize,
    /// The most parts of a page, as asked for.
    pub max: usize,
    /// Whether there are more behind it.
    pub truncated: bool,
    /// Its parts, in order.
    pub parts: Vec<ObjectPart>,
}

/// One part.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ObjectPart {
    /// Counted from 1, as `?partNumber` counts.
    pub number: usize,
    /// In bytes.
    pub size: u64,
    /// Algorithm and value.
    pub checksum: Option<(ChecksumAlgorithm, String)>,
}

/// The document.
pub fn render_attributes(attributes: &ObjectAttributes) -> String {
    let mut out = Writer::new("GetObjectAttributesResponse");
    if let Some(etag) = &attributes.etag {
        out.text("ETag", etag);
    }
    if let Some((algorithm, value, kind)) = &attributes.checksum {
        out.open("Checksum");
        out.element(&element(*algorithm), value);
        out.text("ChecksumType", kind);
        out.close();
    }
    if let Some(parts) = &attributes.parts {
        out.open("ObjectParts");
        if let Some(page) = &parts.page {
            let next = page.parts.last().map_or(page.marker, |part| part.number);
            out.text("PartNumberMarker", &page.marker.to_string());
            out.text("NextPartNumberMarker", &next.to_string());
            out.text("MaxParts", &page.max.to_string());
            out.text("IsTruncated", if page.truncated { "true" } else { "false" });
            page.parts.iter().for_each(|part| write_part(&mut out, part));
        }
        out.text("PartsCount", &parts.count.to_string());
        out.close();
    }
    if let Some(class) = &attributes.storage_class {
        out.text("StorageClass", class);
    }
    if let Some(size) = attributes.size {
        out.text("ObjectSize", &size.to_string());
    }
    out.finish()
}

fn write_part(out: &mut Writer, part: &ObjectPart) {
    out.open("Part");
    out.text("PartNumber", &part.number.to_string());
    out.text("Size", &part.size.to_string());
    if let Some((algorithm, value)) = &part.checksum {
        out.element(&element(*algorithm), value);
    }
    out.close();
}

fn element(algorithm: ChecksumAlgorithm) -> String {
    format!("Checksum{}", algorithm.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(attributes: &ObjectAttributes) -> String {
        let document = render_attributes(attributes);
        let start = document.find("2006-03-01/\">").unwrap() + 13;
        document[start..].to_owned()
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        assert_eq!(body(&ObjectAttributes::default()), "</GetObjectAttributesResponse>");
        let few = ObjectAttributes {
            etag: Some("ab-2".to_owned()),
            parts: Some(ObjectParts { count: 2, page: None }),
            size: Some(7),
            ..ObjectAttributes::default()
        };
        assert_eq!(
            body(&few),
            "<ETag>ab-2</ETag><ObjectParts><PartsCount>2</PartsCount></ObjectParts>\
             <ObjectSize>7</ObjectSize></GetObjectAttributesResponse>"
        );
    }

    #[test]
    fn all_in_the_order_of_s3() {
        let part = ObjectPart {
            number: 2,
            size: 5,
            checksum: Some((ChecksumAlgorithm::Crc64Nvme, "AA==".to_owned())),
        };
        let all = ObjectAttributes {
            etag: Some("ab-2".to_owned()),
            checksum: Some((ChecksumAlgorithm::Sha256, "AAAA".to_owned(), "COMPOSITE")),
            parts: Some(ObjectParts {
                count: 3,
                page: Some(PartsPage { marker: 1, max: 1, truncated: true, parts: vec![part] }),
            }),
            storage_class: Some("GLACIER_IR".to_owned()),
            size: Some(1 << 40),
        };
        assert_eq!(
            body(&all),
            "<ETag>ab-2</ETag><Checksum><ChecksumSHA256>AAAA</ChecksumSHA256>\
             <ChecksumType>COMPOSITE</ChecksumType></Checksum><ObjectParts><PartNumberMarker>1</PartNumberMarker>\
             <NextPartNumberMarker>2</NextPartNumberMarker><MaxParts>1</MaxParts><IsTruncated>true</IsTruncated>\
             <Part><PartNumber>2</PartNumber><Size>5</Size><ChecksumCRC64NVME>AA==</ChecksumCRC64NVME></Part>\
             <PartsCount>3</PartsCount></ObjectParts><StorageClass>GLACIER_IR</StorageClass>\
             <ObjectSize>1099511627776</ObjectSize></GetObjectAttributesResponse>"
        );
    }
}
