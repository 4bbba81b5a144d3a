//! Documents say what the code does: the table of operations, the paths they name, the links between them.

use std::collections::BTreeMap;
use std::path::Path;

use crate::config::Action;
use crate::s3::operation::{Class, Operation};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
const DOCUMENTS: [&str; 10] = [
    "README.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "CHANGELOG.md",
    "docs/COMPATIBILITY.md",
    "docs/CONFIGURATION.md",
    "docs/DESIGN.md",
    "docs/LIFE-OF-A-REQUEST.md",
    "docs/PERFORMANCE.md",
    "docs/THREATS.md",
];

fn read(name: &str) -> String {
    std::fs::read_to_string(Path::new(ROOT).join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn the_table_of_operations_is_the_codes() {
    let document = read("docs/COMPATIBILITY.md");
    let mut written: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for line in document.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        if cells.len() == 4 && cells[0] != "operation" {
            assert!(written.insert(cells[0], cells[1..].to_vec()).is_none(), "{} stands twice", cells[0]);
        }
    }
    for operation in Operation::all() {
        let cells =
            written.remove(operation.name()).unwrap_or_else(|| panic!("{} is missing", operation.name()));
        let class = match operation.class() {
            Class::Handler => "handled",
            Class::Pass => "passed on",
            Class::PassIfListed(subresource) => {
                assert!(
                    cells[2].contains(&format!("`?{subresource}`")),
                    "{}: {}",
                    operation.name(),
                    cells[2]
                );
                "passed on if known"
            }
            Class::Refused(_) => "refused",
        };
        let right = match operation.action() {
            Action::Read => "read",
            Action::Write => "write",
            Action::Admin => "admin",
        };
        assert_eq!(cells[..2], [class, right], "{}", operation.name());
    }
    assert!(written.is_empty(), "not in the code: {written:?}");
}

#[test]
fn links_lead_somewhere() {
    for name in DOCUMENTS {
        let text = read(name);
        let folder = Path::new(ROOT).join(name);
        let folder = folder.parent().expect("a file lies in a folder");
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if !target.contains("://") {
                assert!(folder.join(target).exists(), "{name} links to {target}");
            }
        }
    }
}

#[test]
fn files_that_are_named_exist() {
    for name in ["docs/LIFE-OF-A-REQUEST.md", "docs/DESIGN.md", "CONTRIBUTING.md"] {
        let text = read(name);
        for path in text
            .split('`')
            .skip(1)
            .step_by(2)
            .filter(|code| code.ends_with(".rs") && code.contains('/') && !code.contains(' '))
        {
            let found = [ROOT.to_owned(), format!("{ROOT}/proxy/src")]
                .iter()
                .any(|base| Path::new(base).join(path).is_file());
            assert!(found, "{name} names {path}");
        }
    }
}
