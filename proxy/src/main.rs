//! The binary: hands its arguments to `s3cloak::commands` and nothing more.

use std::process::ExitCode;

fn main() -> ExitCode {
    s3cloak::commands::run(std::env::args_os(), &mut std::io::stdout())
}
