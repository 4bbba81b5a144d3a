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
    for command in ["check-config", "check-backend", "inspect"] {
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
