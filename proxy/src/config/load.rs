//! From a file to a [`Config`]: parse to a tree, read every section, report all faults together.

use std::path::Path;

use super::expand::Surroundings;
use super::fault::{Fault, Faults};
use super::reader::Reader;
use super::{Config, sections, tree};

/// Reads and checks a configuration file; `listens` as in [`Surroundings`].
pub fn load(file: &Path, listens: bool) -> Result<Config, Faults> {
    let name = file.display().to_string();
    let text = std::fs::read_to_string(file).map_err(|error| {
        let fault = Fault {
            line: None,
            place: String::new(),
            message: format!("cannot read the configuration: {error}"),
            remedy: "Name the file with --config FILE. To try s3cloak without one, run `s3cloak demo`."
                .into(),
        };
        Faults { file: name.clone(), faults: vec![fault] }
    })?;
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let variable = |name: &str| std::env::var(name).ok();
    parse(&text, &name, &Surroundings { variable: &variable, folder, listens })
}

/// Checks a configuration's text; `file` is its name in messages.
pub fn parse(text: &str, file: &str, around: &Surroundings<'_>) -> Result<Config, Faults> {
    let fail = |faults| Faults { file: file.to_owned(), faults };
    let node = tree::parse(text).map_err(|(message, line)| {
        let remedy = "The file is not YAML up to here: check indentation, quotes and brackets; within {} and [] a ${NAME} has to stand in quotes.".into();
        fail(vec![Fault { line, place: String::new(), message, remedy }])
    })?;
    let reader = Reader::new(around);
    let config = sections::config(&reader.root(&node));
    let faults = reader.faults(text);
    match config {
        Some(config) if faults.is_empty() => Ok(config),
        _ => Err(fail(faults)),
    }
}
