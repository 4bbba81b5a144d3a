//! The program's own commands, run in this process in front of the same store and keys.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::Stack;

/// A configuration file for commands in front of the same store and keys.
pub fn config_file(stack: &Stack, more: &str) -> PathBuf {
    let file = stack.key_folder().with_file_name("config.yaml");
    let promised = if more.contains("profile:") { "" } else { ", profile: { whole_self_copies: true }" };
    let yaml = format!(
        "listen: [{{ address: '127.0.0.1:0' }}]\n\
         backends:\n  default: {{ endpoint: '{}', access_key: backend, secret_key: backend-secret{more}{promised} }}\n\
         keys: {{ services: {{ main: {{ type: local, path: '{}' }} }}, default_key: test-key }}\n\
         credentials: [{{ access_key: client, secret_key: client-secret, allow: [{{ buckets: ['*'], actions: [read] }}] }}]\n\
         buckets: {{ '*': {{ backend: default }} }}\n",
        stack.store.endpoint(),
        stack.key_folder().display(),
    );
    std::fs::write(&file, yaml).unwrap();
    file
}

/// Runs a command, and says whether it succeeded and what it printed.
pub async fn command(name: &str, config: &Path, arguments: &[&str]) -> (bool, String) {
    let mut line =
        vec!["s3cloak".to_owned(), name.to_owned(), "--config".to_owned(), config.display().to_string()];
    line.extend(arguments.iter().map(|argument| (*argument).to_owned()));
    tokio::task::spawn_blocking(move || {
        let mut out = Vec::new();
        let code = s3cloak::commands::run(line, &mut out);
        (code == ExitCode::SUCCESS, String::from_utf8(out).unwrap())
    })
    .await
    .unwrap()
}
