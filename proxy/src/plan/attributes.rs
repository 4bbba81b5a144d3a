//! GetObjectAttributes: what a request asks for, and that of an object
//! (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObjectAttributes.html>).

use http::HeaderMap;

use super::checksum::ShownChecksum;
use crate::error::{Code, Error, Result};
use crate::info::Info;
use crate::s3::query;
use crate::s3::xml::{ObjectAttributes, ObjectPart, ObjectParts, PartsPage};

/// The most parts of one page.
const MAX_PARTS: usize = 1000;

/// What is asked for.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Wanted {
    etag: bool,
    checksum: bool,
    /// Whether the parts of a multipart object have to be known.
    pub parts: bool,
    storage_class: bool,
    size: bool,
    max_parts: usize,
    marker: usize,
}

impl Wanted {
    /// Reads `x-amz-object-attributes`, `x-amz-max-parts` and `x-amz-part-number-marker`.
    ///
    /// InvalidRequest without a single attribute; InvalidArgument for an unknown one, or what is no number.
    pub fn of(headers: &HeaderMap) -> Result<Self> {
        const NAMES: &str = "x-amz-object-attributes";
        let mut wanted = Self {
            max_parts: number(headers, "x-amz-max-parts", "max-parts")?.unwrap_or(MAX_PARTS).min(MAX_PARTS),
            marker: number(headers, "x-amz-part-number-marker", "part-number-marker")?.unwrap_or(0),
            ..Self::default()
        };
        let mut any = false;
        for value in headers.get_all(NAMES) {
            for name in value.to_str().unwrap_or("?").split(',').map(str::trim).filter(|n| !n.is_empty()) {
                any = true;
                let flag = match name {
                    "ETag" => &mut wanted.etag,
                    "Checksum" => &mut wanted.checksum,
                    "ObjectParts" => &mut wanted.parts,
                    "StorageClass" => &mut wanted.storage_class,
                    "ObjectSize" => &mut wanted.size,
                    _ => {
                        return Err(Error::client(
                            Code::InvalidArgument,
                            "Invalid attribute name specified.",
                        )
                        .field("ArgumentName", NAMES)
                        .field("ArgumentValue", name.to_owned()));
                    }
                };
                *flag = true;
            }
        }
        if any {
            return Ok(wanted);
        }
        Err(Error::client(
            Code::InvalidRequest,
            "The x-amz-object-attributes header specifying the attributes to be retrieved is either missing or empty",
        ))
    }

    /// That of an object. `headers` are the backend's, `legacy_parts` the number of parts of one that is not
    /// encrypted.
    pub fn from_info(&self, info: &Info, headers: &HeaderMap, legacy_parts: Option<u16>) -> ObjectAttributes {
        let class = headers.get("x-amz-storage-class").and_then(|v| v.to_str().ok()).unwrap_or("STANDARD");
        ObjectAttributes {
            etag: self.etag.then(|| info.etag.clone()),
            checksum: ShownChecksum::of_object(info)
                .filter(|_| self.checksum)
                .map(|checksum| (checksum.algorithm, checksum.value, checksum.kind)),
            parts: if self.parts { self.parts_of(info, legacy_parts) } else { None },
            storage_class: self.storage_class.then(|| class.to_owned()),
            size: self.size.then_some(info.plain_size),
        }
    }

    fn parts_of(&self, info: &Info, legacy_parts: Option<u16>) -> Option<ObjectParts> {
        let count = usize::from(info.end().parts_count().or(legacy_parts)?);
        let parts = info.trailer().map_or(&[][..], |trailer| &trailer.parts);
        // S3 lists parts that have checksums of their own, and only counts others.
        let listed = parts.iter().any(|part| part.checksum.is_some());
        let page = listed.then(|| PartsPage {
            marker: self.marker,
            max: self.max_parts,
            // An empty page that says "more" would be asked for again and again.
            truncated: self.max_parts > 0 && parts.len().saturating_sub(self.marker) > self.max_parts,
            parts: parts
                .iter()
                .enumerate()
                .skip(self.marker)
                .take(self.max_parts)
                .map(|(index, part)| ObjectPart {
                    number: index + 1,
                    size: part.size,
                    checksum: ShownChecksum::of_part(info, part).map(|shown| (shown.algorithm, shown.value)),
                })
                .collect(),
        });
        Some(ObjectParts { count, page })
    }
}

fn number(headers: &HeaderMap, header: &'static str, name: &'static str) -> Result<Option<usize>> {
    let Some(value) = headers.get(header) else { return Ok(None) };
    let text = value.to_str().unwrap_or_default();
    let parsed = query::number::<i32>(text).and_then(|n| usize::try_from(n).ok());
    parsed.map(Some).ok_or_else(|| {
        Error::client(
            Code::InvalidArgument,
            format!("Provided {name} not an integer or within integer range"),
        )
        .field("ArgumentName", name)
        .field("ArgumentValue", text.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&'static str, &'static str)]) -> Result<Wanted> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        Wanted::of(&headers)
    }

    #[test]
    fn attributes_are_named_in_one_header_or_several() {
        let two = of(&[("x-amz-object-attributes", "ETag, ObjectSize")]).unwrap();
        assert_eq!(two, Wanted { etag: true, size: true, max_parts: 1000, ..Wanted::default() });
        let several = of(&[
            ("x-amz-object-attributes", "ETag"),
            ("x-amz-object-attributes", "ObjectSize,"),
            ("x-amz-max-parts", "5000"),
        ]);
        assert_eq!(several.unwrap(), two);
        let paged = of(&[
            ("x-amz-object-attributes", "ObjectParts"),
            ("x-amz-max-parts", "7"),
            ("x-amz-part-number-marker", "3"),
        ]);
        assert_eq!(paged.unwrap(), Wanted { parts: true, max_parts: 7, marker: 3, ..Wanted::default() });
    }

    #[test]
    fn what_is_asked_for_has_to_exist() {
        for none in [&[][..], &[("x-amz-object-attributes", "")], &[("x-amz-object-attributes", " , ")]] {
            assert_eq!(of(none).unwrap_err().code(), &Code::InvalidRequest, "{none:?}");
        }
        let named = ("x-amz-object-attributes", "ETag");
        for bad in [
            &[("x-amz-object-attributes", "etag")][..],
            &[("x-amz-object-attributes", "ETag,Owner")],
            &[named, ("x-amz-max-parts", "-1")],
            &[named, ("x-amz-max-parts", "x")],
            &[named, ("x-amz-max-parts", "")],
            &[named, ("x-amz-max-parts", "2147483648")],
            &[named, ("x-amz-part-number-marker", "+1")],
        ] {
            assert_eq!(of(bad).unwrap_err().code(), &Code::InvalidArgument, "{bad:?}");
        }
    }
}
