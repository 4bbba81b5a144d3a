//! SPEC.md against the code: what both name must be the same.

use object_format::*;

const SPEC: &str = include_str!("../SPEC.md");

#[test]
fn the_version_is_that_of_the_code() {
    let version = SPEC.lines().find_map(|line| line.strip_prefix("Format version: **")?.strip_suffix("**"));
    assert_eq!(version, Some(FORMAT_VERSION.to_string().as_str()));
    assert!(SPEC.contains(&format!("`\\x89s3cloak object`), format version `{FORMAT_VERSION:02x}`")));
}

#[test]
fn the_limits_are_those_of_the_code() {
    let spaced = |number: u64| {
        let digits = number.to_string();
        let groups: Vec<&str> =
            digits.as_bytes().rchunks(3).rev().map(|group| str::from_utf8(group).expect("digits")).collect();
        groups.join(" ")
    };
    for (row, value) in [
        ("| plaintext of an object |", length::MAX_PLAIN),
        ("| chunk |", length::CHUNK),
        ("| parts |", MAX_PARTS as u64),
        ("| parts |", u64::from(MAX_PART_NUMBER)),
        ("| envelope value |", MAX_ENVELOPE as u64),
        ("| envelope value without its context field |", MAX_OWN_ENVELOPE as u64),
        ("| client context |", MAX_CONTEXT as u64),
    ] {
        let line = SPEC.lines().find(|line| line.starts_with(row)).expect(row);
        assert!(line.contains(&spaced(value)), "{line} has not {value}");
    }
}

#[test]
fn the_errors_are_those_of_the_code() {
    for error in [
        format!("{:?}", EnvelopeError::TooLong),
        format!("{:?}", EnvelopeError::NotBase64),
        "UnsupportedVersion".to_owned(),
        format!("{:?}", EnvelopeError::Malformed),
        format!("{:?}", OpenError::NotAuthentic),
        format!("{:?}", OpenError::Truncated),
    ] {
        assert!(SPEC.contains(&format!("| `{error}` |")), "{error}");
    }
}

#[test]
fn the_algorithms_are_those_of_the_code() {
    let bytes = SPEC.lines().find(|line| line.starts_with("| bytes |")).expect("the table of algorithms");
    let lengths: Vec<usize> = bytes.split('|').filter_map(|cell| cell.trim().parse().ok()).collect();
    let of_code: Vec<usize> = (0..=255).filter_map(ChecksumFact::value_len).collect();
    assert_eq!(lengths, of_code);
}
