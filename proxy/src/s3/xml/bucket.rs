//! Bodies of bucket operations: CreateBucketConfiguration and ListAllMyBucketsResult.

use super::tokens::{Broken, Tokens};
use super::write::Writer;
use crate::error::{Code, Error, Result};

/// The region of a CreateBucket body; `None` for an empty body or one that names none.
///
/// MalformedXML for what is not the schema; NotImplemented for the elements of directory buckets.
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_CreateBucket.html>
pub fn location_constraint(body: &[u8]) -> Result<Option<String>> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(None);
    }
    let broken = |b: Broken| b.by_client();
    let mut tokens = Tokens::new(body);
    tokens.root("CreateBucketConfiguration").map_err(broken)?;
    let mut region = None;
    while let Some(name) = tokens.child().map_err(broken)? {
        match name {
            b"LocationConstraint" => region = Some(tokens.text().map_err(broken)?),
            b"Tags" => tokens.skip().map_err(broken)?,
            b"Location" | b"Bucket" => {
                return Err(Error::client(
                    Code::NotImplemented,
                    "Directory buckets are not supported. Create the bucket with a LocationConstraint only.",
                ));
            }
            other => {
                return Err(
                    Broken::new(format!("the element {}", String::from_utf8_lossy(other))).by_client()
                );
            }
        }
    }
    tokens.end().map_err(broken)?;
    Ok(region.filter(|r| !r.is_empty()))
}

/// One page of ListBuckets.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct BucketPage {
    /// Whose buckets these are.
    pub owner: Option<Account>,
    /// In the order of the backend.
    pub buckets: Vec<ListedBucket>,
    /// Where the next page begins.
    pub continuation_token: Option<String>,
    /// The prefix that was asked for.
    pub prefix: Option<String>,
}

/// `<Owner>`
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Account {
    /// `<ID>`
    pub id: String,
    /// `<DisplayName>`
    pub display_name: Option<String>,
}

/// One `<Bucket>`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ListedBucket {
    /// `<Name>`
    pub name: String,
    /// Every other element, in its order, as it was.
    pub rest: Vec<(String, String)>,
}

/// Reads a backend's answer to ListBuckets. BadGateway where it is not that.
pub fn parse_buckets(body: &[u8]) -> Result<BucketPage> {
    read(body).map_err(Broken::by_backend)
}

fn read(body: &[u8]) -> Result<BucketPage, Broken> {
    let mut tokens = Tokens::new(body);
    let mut page = BucketPage::default();
    tokens.root("ListAllMyBucketsResult")?;
    while let Some(name) = tokens.child()? {
        match name {
            b"Owner" => {
                let mut owner = Account::default();
                for (name, text) in leaves(&mut tokens)? {
                    match name.as_str() {
                        "ID" => owner.id = text,
                        "DisplayName" => owner.display_name = Some(text),
                        _ => {}
                    }
                }
                page.owner = Some(owner);
            }
            b"Buckets" => {
                while let Some(name) = tokens.child()? {
                    if name != b"Bucket" {
                        tokens.skip()?;
                        continue;
                    }
                    let mut rest = leaves(&mut tokens)?;
                    let at = rest.iter().position(|(name, _)| name == "Name");
                    let at = at.ok_or_else(|| Broken::new("a Bucket without a Name"))?;
                    let name = rest.remove(at).1;
                    page.buckets.push(ListedBucket { name, rest });
                }
            }
            b"ContinuationToken" => page.continuation_token = Some(tokens.text()?).filter(|t| !t.is_empty()),
            b"Prefix" => page.prefix = Some(tokens.text()?),
            _ => tokens.skip()?,
        }
    }
    tokens.end()?;
    Ok(page)
}

fn leaves(tokens: &mut Tokens<'_>) -> Result<Vec<(String, String)>, Broken> {
    let mut out = Vec::new();
    while let Some(name) = tokens.child()? {
        let name = String::from_utf8_lossy(name).into_owned();
        if let Some(text) = tokens.leaf()? {
            out.push((name, text));
        }
    }
    Ok(out)
}

/// Writes an answer to ListBuckets.
pub fn render_buckets(page: &BucketPage) -> String {
    let mut writer = Writer::new("ListAllMyBucketsResult");
    if let Some(owner) = &page.owner {
        writer.open("Owner");
        writer.text("ID", &owner.id);
        if let Some(name) = &owner.display_name {
            writer.text("DisplayName", name);
        }
        writer.close();
    }
    writer.open("Buckets");
    for bucket in &page.buckets {
        writer.open("Bucket");
        writer.text("Name", &bucket.name);
        for (name, text) in &bucket.rest {
            writer.element(name, text);
        }
        writer.close();
    }
    writer.close();
    if let Some(token) = &page.continuation_token {
        writer.text("ContinuationToken", token);
    }
    if let Some(prefix) = &page.prefix {
        writer.text("Prefix", prefix);
    }
    writer.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_are_read() {
        let in_region = |r: &str| {
            format!(
                "<CreateBucketConfiguration xmlns='u'><LocationConstraint>{r}</LocationConstraint></CreateBucketConfiguration>"
            )
        };
        assert_eq!(location_constraint(b"").unwrap(), None);
        assert_eq!(location_constraint(b" \n").unwrap(), None);
        assert_eq!(location_constraint(b"<CreateBucketConfiguration/>").unwrap(), None);
        assert_eq!(location_constraint(in_region("").as_bytes()).unwrap(), None);
        assert_eq!(
            location_constraint(in_region("eu-west-1").as_bytes()).unwrap().as_deref(),
            Some("eu-west-1")
        );
    }

    #[test]
    fn other_configurations_are_refused() {
        let code = |body: &str| location_constraint(body.as_bytes()).unwrap_err().code().clone();
        assert_eq!(code("x"), Code::MalformedXml);
        assert_eq!(code("<A/>"), Code::MalformedXml);
        assert_eq!(code("<CreateBucketConfiguration><X/></CreateBucketConfiguration>"), Code::MalformedXml);
        let directory =
            "<CreateBucketConfiguration><Bucket><Type>Directory</Type></Bucket></CreateBucketConfiguration>";
        assert_eq!(code(directory), Code::NotImplemented);
    }

    #[test]
    fn pages_go_round() {
        let page = BucketPage {
            owner: Some(Account { id: "i".to_owned(), display_name: Some("d&d".to_owned()) }),
            buckets: vec![ListedBucket {
                name: "b".to_owned(),
                rest: vec![
                    ("CreationDate".to_owned(), "2026-01-01T00:00:00.000Z".to_owned()),
                    ("BucketRegion".to_owned(), "r".to_owned()),
                ],
            }],
            continuation_token: Some("t".to_owned()),
            prefix: Some(String::new()),
        };
        assert_eq!(parse_buckets(render_buckets(&page).as_bytes()).unwrap(), page);
        let empty = BucketPage::default();
        assert_eq!(parse_buckets(render_buckets(&empty).as_bytes()).unwrap(), empty);
    }

    #[test]
    fn broken_pages_are_the_backends_fault() {
        for bad in [
            "",
            "<A/>",
            "<ListAllMyBucketsResult>",
            "<ListAllMyBucketsResult><Buckets><Bucket><CreationDate>d</CreationDate></Bucket></Buckets></ListAllMyBucketsResult>",
        ] {
            assert_eq!(parse_buckets(bad.as_bytes()).unwrap_err().code(), &Code::BadGateway, "{bad}");
        }
    }
}
