//! Keys that storage may take for other ones: file systems drop or replace what S3 keeps, and then two keys are one
//! object, bound to the name that wrote it last. Which of them a storage folds is measured by the probe.

/// What makes a key another one to some storage.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Fold {
    /// `/a` is `a`.
    LeadingSlash,
    /// `a//b` is `a/b`.
    EmptySegment,
    /// `a/./b` is `a/b`.
    Dot,
    /// `a/../b` is `b`.
    DotDot,
    /// `a\b` is `a/b`.
    Backslash,
}

impl Fold {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::LeadingSlash, Self::EmptySegment, Self::Dot, Self::DotDot, Self::Backslash];

    /// Those that could befall a key; none for most keys.
    pub fn of(key: &[u8]) -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(move |fold| fold.is_in(key))
    }

    fn is_in(self, key: &[u8]) -> bool {
        let has_segment = |name: &[u8]| key.split(|byte| *byte == b'/').any(|segment| segment == name);
        match self {
            Self::LeadingSlash => key.starts_with(b"/"),
            Self::EmptySegment => key.windows(2).any(|pair| pair == b"//"),
            Self::Dot => has_segment(b"."),
            Self::DotDot => has_segment(b".."),
            Self::Backslash => key.contains(&b'\\'),
        }
    }

    /// What such a key has, for messages.
    pub fn what(self) -> &'static str {
        match self {
            Self::LeadingSlash => "a slash at its start",
            Self::EmptySegment => "an empty part (`//`)",
            Self::Dot => "a part that is `.`",
            Self::DotDot => "a part that is `..`",
            Self::Backslash => "a backslash",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_parts_of_a_key_are_folded() {
        for plain in ["a/b", "a/", "dir/.hidden", "a/..b", "a/...", "a./b", "..", "."] {
            let found: Vec<_> = Fold::of(plain.as_bytes()).collect();
            let expected = match plain {
                ".." => vec![Fold::DotDot],
                "." => vec![Fold::Dot],
                _ => vec![],
            };
            assert_eq!(found, expected, "{plain}");
        }
        for (odd, folds) in [
            ("/a", vec![Fold::LeadingSlash]),
            ("//a", vec![Fold::LeadingSlash, Fold::EmptySegment]),
            ("a//", vec![Fold::EmptySegment]),
            ("a/.", vec![Fold::Dot]),
            ("./a", vec![Fold::Dot]),
            ("a/b/..", vec![Fold::DotDot]),
            ("../.\\", vec![Fold::DotDot, Fold::Backslash]),
        ] {
            assert_eq!(Fold::of(odd.as_bytes()).collect::<Vec<_>>(), folds, "{odd}");
        }
    }
}
