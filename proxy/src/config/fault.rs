//! What is wrong with a configuration: every fault with its line, its place and what to do about it.

use std::fmt;

/// One fault.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Fault {
    /// Line in the file, from 1; `None` where the file as a whole is meant.
    pub line: Option<usize>,
    /// Where, such as `backends.default.endpoint`; empty for the whole file.
    pub place: String,
    /// What is wrong. Never holds a secret.
    pub message: String,
    /// What to write instead.
    pub remedy: String,
}

/// Everything that is wrong, in the order of the file; never empty.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Faults {
    /// Name of the file for messages.
    pub file: String,
    /// The faults.
    pub faults: Vec<Fault>,
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, fault) in self.faults.iter().enumerate() {
            if number > 0 {
                writeln!(f)?;
            }
            f.write_str(&self.file)?;
            if let Some(line) = fault.line {
                write!(f, ":{line}")?;
            }
            f.write_str(": ")?;
            if !fault.place.is_empty() {
                write!(f, "{}: ", fault.place)?;
            }
            f.write_str(&fault.message)?;
            if !fault.remedy.is_empty() {
                write!(f, "\n    {}", fault.remedy)?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}
