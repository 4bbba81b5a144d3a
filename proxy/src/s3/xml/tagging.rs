//! Tagging: the tags of an object as a backend gives them
//! (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObjectTagging.html>).

use super::tokens::{Broken, Tokens};
use crate::error::Result;

/// Names and values, in order. BadGateway (502) for anything else.
pub fn parse_tags(document: &[u8]) -> Result<Vec<(String, String)>> {
    parse(document).map_err(Broken::by_backend)
}

/// The same of a document that a client sent.
pub fn parse_sent_tags(document: &[u8]) -> Result<Vec<(String, String)>> {
    parse(document).map_err(Broken::by_client)
}

fn parse(document: &[u8]) -> Result<Vec<(String, String)>, Broken> {
    let mut tokens = Tokens::new(document);
    tokens.root("Tagging")?;
    let mut tags = Vec::new();
    while let Some(name) = tokens.child()? {
        if name != b"TagSet" {
            tokens.skip()?;
            continue;
        }
        while let Some(name) = tokens.child()? {
            if name != b"Tag" {
                return Err(Broken::new("something else than a Tag in a TagSet"));
            }
            tags.push(tag(&mut tokens)?);
        }
    }
    tokens.end()?;
    Ok(tags)
}

fn tag(tokens: &mut Tokens<'_>) -> Result<(String, String), Broken> {
    let (mut key, mut value) = (None, None);
    while let Some(name) = tokens.child()? {
        match name {
            b"Key" => key = Some(tokens.text()?),
            b"Value" => value = Some(tokens.text()?),
            _ => tokens.skip()?,
        }
    }
    Ok((key.ok_or_else(|| Broken::new("a Tag without a Key"))?, value.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_come_in_order() {
        let document = b"<?xml version='1.0'?><Tagging xmlns='x'><TagSet><Tag><Key>a b</Key><Value>1&amp;2</Value></Tag>\
            <Tag><Value/><Key>c</Key></Tag></TagSet></Tagging>";
        let expected = [("a b".to_owned(), "1&2".to_owned()), ("c".to_owned(), String::new())];
        assert_eq!(parse_tags(document).unwrap(), expected);
        assert!(parse_tags(b"<Tagging><TagSet/></Tagging>").unwrap().is_empty());
        for bad in [
            &b""[..],
            b"<TagSet/>",
            b"<Tagging><TagSet><Tag><Value>v</Value></Tag></TagSet></Tagging>",
            b"<Tagging><TagSet><X/></TagSet></Tagging>",
            b"<Tagging><TagSet>",
        ] {
            assert!(parse_tags(bad).is_err(), "{}", String::from_utf8_lossy(bad));
        }
    }
}
