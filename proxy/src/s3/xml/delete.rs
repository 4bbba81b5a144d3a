//! DeleteObjects: the request and the result
//! (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html>).

use super::tokens::{Broken, Tokens};
use super::write::Writer;
use crate::error::{Error, Result};
use crate::s3::name::ObjectKey;

/// Most bytes that a DeleteObjects request may have: 1 000 keys of 1 024 bytes, with markup and some escapes.
pub const MAX_DELETE_BODY: usize = 2 << 20;

/// Most keys in one request.
const MAX_KEYS: usize = 1000;

/// A DeleteObjects request.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct DeleteRequest {
    /// 1 to 1 000 objects.
    pub objects: Vec<ObjectToDelete>,
    /// Only errors are wanted in the result.
    pub quiet: bool,
}

/// One object of a DeleteObjects request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ObjectToDelete {
    /// Its key.
    pub key: ObjectKey,
    /// A version of it.
    pub version_id: Option<String>,
    /// Only if it has this tag; as written.
    pub etag: Option<String>,
    /// Only if it was modified then; as written.
    pub last_modified: Option<String>,
    /// Only if it has this size, in plaintext bytes.
    pub size: Option<u64>,
}

/// What became of each key.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct DeleteResult {
    /// Deleted, or not there.
    pub deleted: Vec<DeletedKey>,
    /// Not deleted.
    pub failed: Vec<FailedKey>,
}

/// One `<Deleted>`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DeletedKey {
    /// The key.
    pub key: Vec<u8>,
    /// The version that was asked for.
    pub version_id: Option<String>,
    /// A delete marker was made, or was what got deleted.
    pub delete_marker: Option<String>,
    /// Its version.
    pub delete_marker_version_id: Option<String>,
}

/// One `<Error>`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FailedKey {
    /// The key.
    pub key: Vec<u8>,
    /// The version that was asked for.
    pub version_id: Option<String>,
    /// S3 error code.
    pub code: String,
    /// What to do about it.
    pub message: String,
}

/// Reads a request. MalformedXML for anything that S3's schema does not have: an element that is not known could be
/// a condition, and to drop it would delete what should stay.
pub fn parse_delete(body: &[u8]) -> Result<DeleteRequest> {
    if body.len() > MAX_DELETE_BODY {
        return Err(Broken::new("a DeleteObjects body over 2 MiB").by_client());
    }
    let broken = |b: Broken| b.by_client();
    let mut tokens = Tokens::new(body);
    let mut request = DeleteRequest::default();
    tokens.root("Delete").map_err(broken)?;
    while let Some(name) = tokens.child().map_err(broken)? {
        match name {
            b"Quiet" => request.quiet = boolean(&tokens.text().map_err(broken)?).map_err(broken)?,
            b"Object" => {
                if request.objects.len() == MAX_KEYS {
                    return Err(Broken::new("over 1000 keys").by_client());
                }
                request.objects.push(object(&mut tokens)?);
            }
            _ => return Err(unknown(name).by_client()),
        }
    }
    tokens.end().map_err(broken)?;
    if request.objects.is_empty() {
        return Err(Broken::new("no keys").by_client());
    }
    Ok(request)
}

fn object(tokens: &mut Tokens<'_>) -> Result<ObjectToDelete> {
    let broken = |b: Broken| b.by_client();
    let mut key = None;
    let (mut version_id, mut etag, mut last_modified, mut size) = (None, None, None, None);
    while let Some(name) = tokens.child().map_err(broken)? {
        let text = tokens.text().map_err(broken)?;
        let before = match name {
            b"Key" => key.replace(text),
            b"VersionId" => version_id.replace(text),
            b"ETag" => etag.replace(text),
            b"LastModifiedTime" => last_modified.replace(text),
            b"Size" => size.replace(text),
            _ => return Err(unknown(name).by_client()),
        };
        if before.is_some() {
            return Err(Broken::new("an element that stands twice").by_client());
        }
    }
    let size = match size.map(|s: String| s.trim().parse::<u64>()) {
        None => None,
        Some(Ok(size)) => Some(size),
        Some(Err(_)) => return Err(Broken::new("a Size that is no number").by_client()),
    };
    match key {
        Some(key) if !key.is_empty() => Ok(ObjectToDelete {
            key: ObjectKey::parse(key.into_bytes())?,
            version_id: version_id.filter(|v| !v.is_empty()),
            etag,
            last_modified,
            size,
        }),
        _ => Err(Broken::new("an Object without a Key").by_client()),
    }
}

fn boolean(text: &str) -> Result<bool, Broken> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" => Ok(true),
        "false" | "" => Ok(false),
        _ => Err(Broken::new("a boolean that is neither true nor false")),
    }
}

fn unknown(name: &[u8]) -> Broken {
    Broken::new(format!("the element {}", String::from_utf8_lossy(name)))
}

/// Writes a request for the backend. It is never quiet: the result has to name every key.
///
/// Keys that are not UTF-8 cannot be written in XML; they cannot have been read from XML either.
pub fn render_delete<'a>(objects: impl IntoIterator<Item = &'a ObjectToDelete>) -> String {
    let mut writer = Writer::new("Delete");
    for object in objects {
        writer.open("Object");
        writer.text("Key", &object.key.to_lossy());
        optional(&mut writer, "VersionId", object.version_id.as_deref());
        optional(&mut writer, "ETag", object.etag.as_deref());
        optional(&mut writer, "LastModifiedTime", object.last_modified.as_deref());
        optional(&mut writer, "Size", object.size.map(|s| s.to_string()).as_deref());
        writer.close();
    }
    writer.finish()
}

/// Reads a backend's result. Elements that are not known are skipped.
pub fn parse_delete_result(body: &[u8]) -> Result<DeleteResult> {
    read_result(body).map_err(Broken::by_backend)
}

fn read_result(body: &[u8]) -> Result<DeleteResult, Broken> {
    let mut tokens = Tokens::new(body);
    let mut result = DeleteResult::default();
    tokens.root("DeleteResult")?;
    while let Some(name) = tokens.child()? {
        match name {
            b"Deleted" => {
                let mut fields = Fields::read(&mut tokens)?;
                result.deleted.push(DeletedKey {
                    key: fields.key()?,
                    version_id: fields.take("VersionId"),
                    delete_marker: fields.take("DeleteMarker"),
                    delete_marker_version_id: fields.take("DeleteMarkerVersionId"),
                });
            }
            b"Error" => {
                let mut fields = Fields::read(&mut tokens)?;
                result.failed.push(FailedKey {
                    key: fields.key()?,
                    version_id: fields.take("VersionId"),
                    code: fields.take("Code").unwrap_or_else(|| "InternalError".to_owned()),
                    message: fields.take("Message").unwrap_or_default(),
                });
            }
            _ => tokens.skip()?,
        }
    }
    tokens.end()?;
    Ok(result)
}

struct Fields(Vec<(String, String)>);

impl Fields {
    fn read(tokens: &mut Tokens<'_>) -> Result<Self, Broken> {
        let mut fields = Vec::new();
        while let Some(name) = tokens.child()? {
            let name = String::from_utf8_lossy(name).into_owned();
            if let Some(text) = tokens.leaf()? {
                fields.push((name, text));
            }
        }
        Ok(Self(fields))
    }

    fn take(&mut self, name: &str) -> Option<String> {
        let at = self.0.iter().position(|(n, _)| n == name)?;
        Some(self.0.swap_remove(at).1).filter(|text| !text.is_empty())
    }

    fn key(&mut self) -> Result<Vec<u8>, Broken> {
        self.take("Key").map(String::into_bytes).ok_or_else(|| Broken::new("a result without a Key"))
    }
}

/// Writes the result for the client; `quiet` leaves out what was deleted.
pub fn render_delete_result(result: &DeleteResult, quiet: bool) -> String {
    let mut writer = Writer::new("DeleteResult");
    for deleted in result.deleted.iter().filter(|_| !quiet) {
        writer.open("Deleted");
        writer.text("Key", &String::from_utf8_lossy(&deleted.key));
        optional(&mut writer, "VersionId", deleted.version_id.as_deref());
        optional(&mut writer, "DeleteMarker", deleted.delete_marker.as_deref());
        optional(&mut writer, "DeleteMarkerVersionId", deleted.delete_marker_version_id.as_deref());
        writer.close();
    }
    for failed in &result.failed {
        writer.open("Error");
        writer.text("Key", &String::from_utf8_lossy(&failed.key));
        optional(&mut writer, "VersionId", failed.version_id.as_deref());
        writer.text("Code", &failed.code);
        writer.text("Message", &failed.message);
        writer.close();
    }
    writer.finish()
}

/// The result for keys that the proxy itself refuses.
impl FailedKey {
    /// As the client gets it.
    pub fn from_error(object: &ObjectToDelete, error: &Error) -> Self {
        Self {
            key: object.key.as_bytes().to_vec(),
            version_id: object.version_id.clone(),
            code: error.code().name().to_owned(),
            message: error.message().to_owned(),
        }
    }
}

fn optional(writer: &mut Writer, name: &'static str, value: Option<&str>) {
    if let Some(value) = value {
        writer.text(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;

    fn object(key: &str) -> ObjectToDelete {
        ObjectToDelete {
            key: ObjectKey::parse(key.as_bytes()).unwrap(),
            version_id: None,
            etag: None,
            last_modified: None,
            size: None,
        }
    }

    #[test]
    fn requests_are_read() {
        let body = "<Delete xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Object><Key> a&amp;b </Key>\
                    <VersionId>v</VersionId><ETag>&quot;e&quot;</ETag><Size>7</Size>\
                    <LastModifiedTime>t</LastModifiedTime></Object>\n <Quiet>true</Quiet><Object><Key>c</Key>\
                    <VersionId></VersionId></Object></Delete>";
        let request = parse_delete(body.as_bytes()).unwrap();
        assert!(request.quiet);
        let first = ObjectToDelete {
            version_id: Some("v".to_owned()),
            etag: Some("\"e\"".to_owned()),
            last_modified: Some("t".to_owned()),
            size: Some(7),
            ..object(" a&b ")
        };
        assert_eq!(request.objects, [first, object("c")]);
        let again = parse_delete(render_delete(&request.objects).as_bytes()).unwrap();
        assert_eq!((again.objects, again.quiet), (request.objects, false));
    }

    #[test]
    fn requests_outside_the_schema_are_refused() {
        let keys = |n: usize| format!("<Delete>{}</Delete>", "<Object><Key>k</Key></Object>".repeat(n));
        assert_eq!(parse_delete(keys(1000).as_bytes()).unwrap().objects.len(), 1000);
        let bomb = "<!DOCTYPE d [<!ENTITY a 'aaaa'>]><Delete><Object><Key>&a;</Key></Object></Delete>";
        let large = format!("<Delete><Object><Key>k</Key></Object>{}</Delete>", " ".repeat(MAX_DELETE_BODY));
        for bad in [
            "",
            "<Delete/>",
            "<Delete><Quiet>true</Quiet></Delete>",
            "<Delete><Object/></Delete>",
            "<Delete><Object><Key></Key></Object></Delete>",
            "<Delete><Object><Key>a</Key><Key>b</Key></Object></Delete>",
            "<Delete><Object><Key>a</Key><IfSomething>b</IfSomething></Object></Delete>",
            "<Delete><Object><Key>a</Key><Size>x</Size></Object></Delete>",
            "<Delete><Object><Key>a</Key><Size>-1</Size></Object></Delete>",
            "<Delete><Object><Key>a<b/></Key></Object></Delete>",
            "<Delete><Object><Key>a</Key></Object><Other/></Delete>",
            "<Delete><Object><Key>a</Key></Object><Quiet>yes</Quiet></Delete>",
            "<Delete><Object><Key>a</Key></Object>",
            "<Delet><Object><Key>a</Key></Object></Delet>",
            bomb,
            &large,
            &keys(1001),
        ] {
            assert_eq!(parse_delete(bad.as_bytes()).unwrap_err().code(), &Code::MalformedXml, "{bad:.100}");
        }
        let long = format!("<Delete><Object><Key>{}</Key></Object></Delete>", "k".repeat(1025));
        assert_eq!(parse_delete(long.as_bytes()).unwrap_err().code(), &Code::KeyTooLong);
    }

    #[test]
    fn results_go_round() {
        let result = DeleteResult {
            deleted: vec![DeletedKey {
                key: b"a<".to_vec(),
                version_id: Some("v".to_owned()),
                delete_marker: Some("true".to_owned()),
                delete_marker_version_id: Some("m".to_owned()),
            }],
            failed: vec![FailedKey::from_error(&object("b"), &Error::client(Code::AccessDenied, "no"))],
        };
        let full = render_delete_result(&result, false);
        assert_eq!(parse_delete_result(full.as_bytes()).unwrap(), result);
        let quiet = parse_delete_result(render_delete_result(&result, true).as_bytes()).unwrap();
        assert_eq!((quiet.deleted.len(), quiet.failed), (0, result.failed));
    }

    #[test]
    fn broken_results_are_the_backends_fault() {
        for bad in ["", "<DeleteResult>", "<Other/>", "<DeleteResult><Deleted/></DeleteResult>"] {
            assert_eq!(parse_delete_result(bad.as_bytes()).unwrap_err().code(), &Code::BadGateway, "{bad}");
        }
    }
}
