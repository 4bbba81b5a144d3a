//! Entity tags: quoting, and the shape that clients see where the MD5 of the plaintext is not shown.

use aws_lc_rs::digest;

/// What stands between the quotes of a strong tag; unquoted text as it is.
pub fn unquote(tag: &str) -> &str {
    let tag = tag.trim();
    tag.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(tag)
}

/// The tag as it stands in a header.
pub fn quote(tag: &str) -> String {
    format!("\"{tag}\"")
}

/// The tag of an object whose plaintext MD5 is not shown, made of the backend's own (quoted or not; the result is
/// unquoted): its 32 hex digits and `-N`, N its own or 1. Every client knows that a tag with a dash is no MD5.
/// Where the backend's is not 32 hex digits, its SHA-256 cut to 32 takes their place.
pub fn opaque(backend_etag: &str) -> String {
    let tag = unquote(backend_etag);
    let (stem, parts) = match tag.rsplit_once('-') {
        Some((stem, parts)) if is_count(parts) => (stem, parts),
        _ => (tag, "1"),
    };
    if stem.len() == 32 && stem.bytes().all(|b| b.is_ascii_hexdigit()) {
        let mut shown = String::with_capacity(stem.len() + 1 + parts.len());
        shown.push_str(stem);
        shown.make_ascii_lowercase();
        shown.push('-');
        shown.push_str(parts);
        return shown;
    }
    let hash = digest::digest(&digest::SHA256, tag.as_bytes());
    format!("{}-1", hex::encode(&hash.as_ref()[..16]))
}

/// A part count as S3 writes it: 1 to 10 000, no leading zero.
fn is_count(text: &str) -> bool {
    !text.starts_with('0')
        && text.bytes().all(|b| b.is_ascii_digit())
        && text.parse::<u16>().is_ok_and(|n| n <= 10_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opaque_tags_have_a_dash() {
        let md5 = "d41d8cd98f00b204e9800998ecf8427e";
        assert_eq!(opaque(&format!("\"{md5}\"")), format!("{md5}-1"));
        assert_eq!(opaque(md5), format!("{md5}-1"));
        assert_eq!(opaque(&md5.to_uppercase()), format!("{md5}-1"));
        assert_eq!(opaque(&format!("\"{md5}-17\"")), format!("{md5}-17"));
        assert_eq!(opaque(&format!("{md5}-10000")), format!("{md5}-10000"));
    }

    #[test]
    fn other_tags_are_hashed_to_the_same_shape() {
        let md5 = "d41d8cd98f00b204e9800998ecf8427e";
        let odd =
            ["", "abc", "\"0x8D9\"", "d41d8cd98f00b204e9800998ecf8427", "zz1d8cd98f00b204e9800998ecf8427e"];
        let mut seen = std::collections::BTreeSet::new();
        for tag in odd.iter().map(|s| (*s).to_owned()).chain([
            format!("{md5}-0"),
            format!("{md5}-01"),
            format!("{md5}-10001"),
            format!("{md5}-"),
            format!("{md5}-1-2"),
        ]) {
            let shown = opaque(&tag);
            assert_eq!((shown.len(), &shown[32..]), (34, "-1"), "{tag}");
            assert_ne!(&shown[..32], md5);
            assert!(seen.insert(shown), "{tag}");
        }
    }

    #[test]
    fn quotes_come_and_go() {
        assert_eq!(unquote(" \"a\" "), "a");
        assert_eq!(unquote("a"), "a");
        assert_eq!(unquote("\"a"), "\"a");
        assert_eq!(unquote("\""), "\"");
        assert_eq!(quote("a"), "\"a\"");
    }
}
