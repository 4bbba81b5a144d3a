//! The command line as a person types it.

use clap::CommandFactory as _;

use super::*;

/// Runs a command line and gives what it printed.
pub(super) fn typed(arguments: &[&str]) -> Result<String, Failure> {
    let cli = Cli::try_parse_from([&["s3cloak"], arguments].concat())
        .map_err(|error| Failure::Usage(error.to_string()))?;
    let mut out = Vec::new();
    execute(cli, &mut out)?;
    Ok(String::from_utf8(out).unwrap())
}

fn usage(arguments: &[&str]) -> String {
    match typed(arguments) {
        Err(Failure::Usage(message)) => message,
        other => panic!("{arguments:?}: {other:?}"),
    }
}

#[test]
fn every_argument_is_explained() {
    Cli::command().debug_assert();
    for command in Cli::command().get_subcommands() {
        assert!(command.get_about().is_some(), "{}", command.get_name());
        for argument in command.get_arguments() {
            assert!(argument.get_help().is_some(), "{} {}", command.get_name(), argument.get_id());
        }
    }
}

#[test]
fn the_help_shows_every_command() {
    let help = Cli::command().render_long_help().to_string();
    for command in ["serve", "demo", "check-config", "check-backend", "key", "gc", "inspect"] {
        assert!(help.contains(command), "{help}");
    }
}

#[test]
fn a_good_configuration_is_summed_up() {
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../config.yaml");
    let shown = typed(&["check-config", "--config", example]).unwrap();
    for part in [
        "no fault found",
        "127.0.0.1:9000 (plain HTTP)",
        "main/s3cloak-default",
        "note: the key service main",
    ] {
        assert!(shown.contains(part), "{shown}");
    }
}

#[test]
fn a_faulty_configuration_is_a_usage_error_with_all_faults() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.yaml");
    std::fs::write(&file, "listn: []\nbackends: {}\n").unwrap();
    let message = usage(&["check-config", "-c", file.to_str().unwrap()]);
    for part in
        ["config.yaml:1: listn: ", "Did you mean `listen`?", "config.yaml:2: backends: ", "`keys` is missing"]
    {
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn wrong_arguments_are_refused() {
    for wrong in [
        &["no-such-command"][..],
        &["check-config", "--nonsense"],
        &["inspect"],
        &["inspect", "--envelope", "x", "s3://bucket/key"],
        &["inspect", "photos/cat.jpg"],
        &["inspect", "s3://photos"],
        &["inspect", "s3://photos/"],
        &["check-config", "--config", "no/such/file.yaml"],
        &[
            "check-backend",
            "--config",
            concat!(env!("CARGO_MANIFEST_DIR"), "/../config.yaml"),
            "--backend",
            "none",
        ],
    ] {
        assert!(!usage(wrong).is_empty(), "{wrong:?}");
    }
}

/// A configuration file with a folder of keys, and a backend that nobody serves unless `endpoint` says so.
pub(super) fn configuration(folder: &std::path::Path, endpoint: &str) -> PathBuf {
    let file = folder.join("config.yaml");
    let text = format!(
        "\
listen: [{{ address: '127.0.0.1:9000' }}]
backends: {{ default: {{ endpoint: '{endpoint}', access_key: AK, secret_key: SK }} }}
keys: {{ services: {{ main: {{ type: local, path: keys }} }}, default_key: first, aliases: {{ mine: main/second }} }}
credentials: [{{ access_key: client, secret_key: secret, allow: [{{ buckets: ['*'], actions: [read] }}] }}]
"
    );
    std::fs::write(&file, text).unwrap();
    file
}

#[test]
fn keys_are_made_listed_checked_and_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let file = configuration(folder.path(), "http://127.0.0.1:1");
    let key = |arguments: &[&str]| typed(&[&["key", "--config", file.to_str().unwrap()], arguments].concat());
    assert_eq!(key(&["list"]).unwrap(), "");
    assert_eq!(typed(&["key", "list", "--config", file.to_str().unwrap()]).unwrap(), "");
    assert_eq!(key(&["create", "first"]).unwrap(), "made main/first\n");
    assert_eq!(key(&["create", "mine"]).unwrap(), "made main/second\n");
    assert_eq!(key(&["create", "main/third"]).unwrap(), "made main/third\n");
    assert!(matches!(key(&["create", "first"]), Err(Failure::Failed(text)) if text.contains("exists")));
    assert_eq!(key(&["list"]).unwrap(), "first\nsecond\nthird\n");
    assert_eq!(key(&["list", "s", "--service", "main"]).unwrap(), "second\n");
    assert!(key(&["status"]).unwrap().contains("usable"));
    let status = key(&["status", "first"]).unwrap();
    assert!(
        status.starts_with("main/first\n") && status.ends_with("encryption   works\n  decryption   works\n"),
        "{status}"
    );
    assert!(matches!(key(&["delete", "first"]), Err(Failure::Usage(text)) if text.contains("--yes")));
    assert_eq!(key(&["delete", "first", "--yes"]).unwrap(), "deleted main/first\n");
    assert!(matches!(key(&["status", "first"]), Err(Failure::Failed(_))));
    assert!(matches!(key(&["delete", "first", "--yes"]), Err(Failure::Failed(_))));
    for wrong in [&["create", "a.b"][..], &["status", "other/first"], &["list", "--service", "other"], &[]] {
        assert!(matches!(key(wrong), Err(Failure::Usage(_))), "{wrong:?}");
    }
}
