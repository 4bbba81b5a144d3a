//! `${NAME}` and `${file:path}` within texts of the configuration. `$${` stands for a literal `${`.

use std::path::{Path, PathBuf};

/// Where values outside the file come from.
pub struct Surroundings<'a> {
    /// An environment variable.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
    /// Relative paths count from here: the folder of the configuration file.
    pub folder: &'a Path,
    /// Who reads it listens, and needs the files of its listeners. Commands run where these may not be readable.
    pub listens: bool,
}

impl Surroundings<'_> {
    /// A path as it is meant.
    pub(super) fn path(&self, written: &str) -> PathBuf {
        self.folder.join(written)
    }
}

/// Why a text cannot be expanded: message and remedy, neither with a value in it.
pub(super) type Refusal = (String, String);

/// Replaces every `${…}`.
pub(super) fn expand(text: &str, around: &Surroundings<'_>) -> Result<String, Refusal> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        if let Some(before) = rest[..at].strip_suffix('$') {
            out.push_str(before);
            out.push_str("${");
            rest = &rest[at + 2..];
            continue;
        }
        out.push_str(&rest[..at]);
        let inner = &rest[at + 2..];
        let Some(end) = inner.find('}') else {
            return Err((
                "a `${` is not closed".into(),
                "Write ${NAME} or ${file:path}; for a literal ${ write $${.".into(),
            ));
        };
        out.push_str(&value_of(&inner[..end], around)?);
        rest = &inner[end + 1..];
    }
    out.push_str(rest);
    Ok(out)
}

fn value_of(reference: &str, around: &Surroundings<'_>) -> Result<String, Refusal> {
    if let Some(file) = reference.strip_prefix("file:") {
        let path = around.path(file.trim());
        let text = std::fs::read_to_string(&path).map_err(|error| {
            (
                format!("cannot read {}: {error}", path.display()),
                "Give the process a readable file with the value in it.".to_owned(),
            )
        })?;
        // Editors and `echo` end a file with a newline that is no part of the secret.
        return Ok(text.strip_suffix('\n').map_or(&*text, |t| t.strip_suffix('\r').unwrap_or(t)).to_owned());
    }
    let well_formed = !reference.is_empty()
        && !reference.starts_with(|c: char| c.is_ascii_digit())
        && reference.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if !well_formed {
        return Err((
            format!("`${{{reference}}}` is neither a variable nor a file"),
            "Write ${NAME} or ${file:path}; for a literal ${ write $${.".into(),
        ));
    }
    match (around.variable)(reference) {
        Some(value) if !value.is_empty() => Ok(value),
        Some(_) => Err((
            format!("the environment variable {reference} is empty"),
            format!("Set {reference}, or write ${{file:path}} to read the value from a file."),
        )),
        None => Err((
            format!("the environment variable {reference} is not set"),
            format!("Set {reference}, or write ${{file:path}} to read the value from a file."),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(text: &str, folder: &Path) -> Result<String, Refusal> {
        let variable = |name: &str| match name {
            "KEY" => Some("value".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        expand(text, &Surroundings { variable: &variable, folder, listens: true })
    }

    #[test]
    fn variables_and_files_are_replaced() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("secret"), "from a file\n").unwrap();
        for (text, wanted) in [
            ("plain $ text {}", "plain $ text {}"),
            ("${KEY}", "value"),
            ("a${KEY}b${KEY}", "avaluebvalue"),
            ("${file:secret}", "from a file"),
            ("$${KEY}", "${KEY}"),
            ("x$${KEY}${KEY}", "x${KEY}value"),
        ] {
            assert_eq!(with(text, folder.path()).unwrap(), wanted, "{text}");
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let here = Path::new(".");
        for (text, named) in [
            ("${NO_SUCH}", "NO_SUCH is not set"),
            ("${EMPTY}", "EMPTY is empty"),
            ("${KEY", "not closed"),
            ("${}", "neither"),
            ("${A-B}", "neither"),
            ("${file:no/such}", "cannot read"),
        ] {
            let (message, remedy) = with(text, here).unwrap_err();
            assert!(message.contains(named), "{text}: {message}");
            assert!(!remedy.is_empty());
        }
    }
}
