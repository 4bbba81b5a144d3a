//! Names of external keys, checked before they become part of a path or a file name.

use std::fmt;
use std::str::FromStr;

use crate::KeyError;

/// A name that KES accepts: 1 to 80 of `A-Z a-z 0-9 _ -`, no `-` at either end, not `_` alone.
/// So it is safe as a URL path segment and as a file name.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct KeyName(String);

impl KeyName {
    /// Longest name in bytes.
    pub const MAX: usize = 80;

    /// Checks a name.
    pub fn new(name: impl Into<String>) -> Result<Self, KeyError> {
        let name = name.into();
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        let ok = (1..=Self::MAX).contains(&name.len())
            && name.bytes().all(allowed)
            && !name.starts_with('-')
            && !name.ends_with('-')
            && name != "_";
        if ok {
            Ok(Self(name))
        } else {
            Err(KeyError::InvalidName { name: name.chars().take(100).collect() })
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for KeyName {
    type Err = KeyError;

    fn from_str(s: &str) -> Result<Self, KeyError> {
        Self::new(s)
    }
}

impl AsRef<str> for KeyName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_service() {
        for good in ["a", "A_b-9", "__", "_a", "a_", &"k".repeat(80)] {
            assert_eq!(KeyName::new(good).unwrap().as_str(), good);
        }
        for bad in [
            "",
            "_",
            "-",
            "-a",
            "a-",
            "a.b",
            "..",
            "a/b",
            "a b",
            "a:b",
            "schlüssel",
            "a\0",
            "%41",
            &"k".repeat(81),
        ] {
            assert!(matches!(KeyName::new(bad), Err(KeyError::InvalidName { .. })), "{bad:?}");
        }
    }
}
