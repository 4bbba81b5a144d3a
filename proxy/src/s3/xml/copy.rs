//! CopyObjectResult and CopyPartResult: read from a backend, written for a client
//! (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html>).

use super::tokens::{Broken, Tokens};
use super::write::Writer;
use crate::error::Result;
use crate::s3::checksum::ChecksumAlgorithm;
use crate::s3::etag::{quote, unquote};

/// What a backend says of a copy that it made.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BackendCopy {
    /// Its own ETag of the copy, unquoted.
    pub etag: String,
    /// As it stands there.
    pub last_modified: Option<String>,
}

/// Reads it. BadGateway (502) for anything else; an error within a 200 is to be looked for before.
pub fn parse_backend_copy(document: &[u8]) -> Result<BackendCopy> {
    parse(document).map_err(Broken::by_backend)
}

fn parse(document: &[u8]) -> Result<BackendCopy, Broken> {
    let mut tokens = Tokens::new(document);
    match tokens.child()? {
        Some(b"CopyObjectResult" | b"CopyPartResult") => {}
        _ => return Err(Broken::new("the root element is not that of a copy")),
    }
    let (mut etag, mut last_modified) = (None, None);
    while let Some(name) = tokens.child()? {
        match name {
            b"ETag" => etag = Some(unquote(&tokens.text()?).to_owned()),
            b"LastModified" => last_modified = Some(tokens.text()?).filter(|text| !text.is_empty()),
            _ => tokens.skip()?,
        }
    }
    tokens.end()?;
    let etag = etag.filter(|etag| !etag.is_empty()).ok_or_else(|| Broken::new("a copy without an ETag"))?;
    Ok(BackendCopy { etag, last_modified })
}

/// What a client is told of a copy.
#[derive(Clone, Debug)]
pub struct CopyResult<'a> {
    /// Its ETag as clients see it, unquoted.
    pub etag: &'a str,
    /// RFC 3339.
    pub last_modified: &'a str,
    /// Its checksum, where one is sealed: algorithm, text, and the type for whole objects.
    pub checksum: Option<(ChecksumAlgorithm, String, Option<&'static str>)>,
}

/// The answer to CopyObject.
pub fn render_copied_object(copied: &CopyResult<'_>) -> String {
    render("CopyObjectResult", copied)
}

/// The answer to UploadPartCopy.
pub fn render_copied_part(copied: &CopyResult<'_>) -> String {
    render("CopyPartResult", copied)
}

fn render(root: &'static str, copied: &CopyResult<'_>) -> String {
    let mut writer = Writer::new(root);
    writer.text("ETag", &quote(copied.etag));
    writer.text("LastModified", copied.last_modified);
    if let Some((algorithm, text, kind)) = &copied.checksum {
        if let Some(kind) = kind {
            writer.text("ChecksumType", kind);
        }
        writer.element(&format!("Checksum{}", algorithm.name()), text);
    }
    writer.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;

    #[test]
    fn what_is_written_is_read() {
        let checksum = Some((ChecksumAlgorithm::Crc32, "AAAAAA==".to_owned(), Some("FULL_OBJECT")));
        let copied = CopyResult { etag: "ab-2", last_modified: "2026-01-01T00:00:00.000Z", checksum };
        for document in [render_copied_object(&copied), render_copied_part(&copied)] {
            let read = parse_backend_copy(document.as_bytes()).unwrap();
            assert_eq!(
                (read.etag.as_str(), read.last_modified.as_deref()),
                ("ab-2", Some(copied.last_modified))
            );
            assert!(
                document.contains(
                    "<ChecksumType>FULL_OBJECT</ChecksumType><ChecksumCRC32>AAAAAA==</ChecksumCRC32>"
                )
            );
            assert!(document.contains("<ETag>&quot;ab-2&quot;</ETag>"), "{document}");
        }
    }

    #[test]
    fn backends_write_it_in_many_ways() {
        let read =
            |text: &str| parse_backend_copy(text.as_bytes()).map(|copy| (copy.etag, copy.last_modified));
        let none = Ok(("e".to_owned(), None));
        assert_eq!(read("<CopyObjectResult><ETag>e</ETag></CopyObjectResult>").map_err(drop), none.clone());
        assert_eq!(
            read("<?xml version=\"1.0\"?>\n <CopyPartResult xmlns='x'><X><ETag>n</ETag></X><LastModified/><ETag>\"e\"</ETag></CopyPartResult>")
                .map_err(drop),
            none
        );
        for bad in [
            "",
            "<CopyObjectResult/>",
            "<CopyObjectResult><ETag/></CopyObjectResult>",
            "<CopyObjectResult><ETag>e</ETag>",
            "<Error><Code>InternalError</Code></Error>",
            "<html/>",
        ] {
            assert_eq!(read(bad).unwrap_err().code(), &Code::BadGateway, "{bad}");
        }
    }
}
