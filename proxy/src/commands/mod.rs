//! The command line: what each command takes and prints. The work is done in other rooms.

mod check_backend;
mod check_config;
#[cfg(feature = "demo")]
mod demo;
mod encrypt;
mod gc;
mod health;
mod inspect;
mod key;
mod progress;
mod rewrap;
mod serve;
mod verify;
mod walk;

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::{self, Config};
use crate::error::Error;

/// `EX_USAGE` of BSD's sysexits: wrong arguments or a faulty configuration, so another try will not help.
const USAGE: u8 = 64;
/// Something did not work; the message says what.
const FAILED: u8 = 1;

const EXAMPLES: &str = "\
First steps:
  s3cloak demo             everything in one process, to try it out
  s3cloak check-config     what is wrong with ./config.yaml, all at once
  s3cloak check-backend    what the storage can do
  s3cloak serve            the proxy; `s3cloak` alone does the same

Exit status: 0 done, 1 failed, 64 wrong arguments or configuration.";

/// Encrypts what S3 clients store, between them and any S3 storage.
///
/// S3 clients talk to s3cloak as they would to AWS S3 or MinIO. The storage behind it sees ciphertext only; the keys
/// come from MinIO KES, or from a local folder.
#[derive(Debug, Parser)]
#[command(name = "s3cloak", version, after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(flatten)]
    config: ConfigFile,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the proxy; the same as no command at all
    Serve(ConfigFile),
    /// Try it out: storage, keys and proxy in one process
    #[cfg(feature = "demo")]
    Demo(demo::Arguments),
    /// Tell everything that is wrong with a configuration, with line and remedy
    CheckConfig(ConfigFile),
    /// Find out what a backend can do, and whether the proxy can use it
    CheckBackend(check_backend::Arguments),
    /// Ask a running proxy on this machine whether it is well
    Health(health::Arguments),
    /// Make, list, check and delete encryption keys
    Key(key::Arguments),
    /// Remove what multipart uploads that have ended left behind in the system area
    Gc(gc::Arguments),
    /// Show what is stored of one object: envelope, sizes, and, with access to its key, the trailer
    Inspect(inspect::Arguments),
    /// Give every object of a bucket or prefix another key or mode, without moving data
    Rewrap(rewrap::Arguments),
    /// Read every object of a bucket or prefix and tell which are not encrypted and whole
    Verify(verify::Arguments),
    /// Encrypt the objects of a bucket or prefix that were there before the proxy, in their places
    Encrypt(encrypt::Arguments),
}

#[derive(Clone, Debug, Args)]
struct ConfigFile {
    /// The configuration; config.yaml at the top of the repository is an annotated example
    #[arg(long, short, value_name = "FILE", default_value = "config.yaml")]
    config: PathBuf,
}

impl ConfigFile {
    fn load(&self) -> Result<Config, Failure> {
        self.read(false)
    }

    /// For who listens, or checks for one who does: the files of the listeners have to be good, too.
    fn load_to_listen(&self) -> Result<Config, Failure> {
        self.read(true)
    }

    fn read(&self, listens: bool) -> Result<Config, Failure> {
        config::load(&self.config, listens).map_err(|faults| Failure::Usage(faults.to_string()))
    }
}

/// Why a command ends without success; the text goes to standard error.
#[derive(Debug, PartialEq)]
enum Failure {
    /// Wrong arguments or configuration.
    Usage(String),
    /// It was tried and did not work.
    Failed(String),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Failed(error.to_string())
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Failure::Failed(error.to_string())
    }
}

/// Runs a command line (the program's name first). Results go to `out`, complaints to standard error.
pub fn run<I, T>(arguments: I, out: &mut dyn Write) -> ExitCode
where
    I: IntoIterator<Item = T>,
    T: Into<OsString> + Clone,
{
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no errors; a closed pipe behind them is none of ours.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(USAGE) } else { ExitCode::SUCCESS };
        }
    };
    let (code, message) = match execute(cli, out) {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Failure::Usage(message)) => (USAGE, message),
        Err(Failure::Failed(message)) => (FAILED, message),
    };
    let _ = writeln!(std::io::stderr(), "{message}");
    ExitCode::from(code)
}

fn execute(cli: Cli, out: &mut dyn Write) -> Result<(), Failure> {
    match cli.command {
        None => serve::run(&cli.config),
        Some(Command::Serve(file)) => serve::run(&file),
        #[cfg(feature = "demo")]
        Some(Command::Demo(arguments)) => demo::run(&arguments, out),
        Some(Command::CheckConfig(file)) => check_config::run(&file, out),
        Some(Command::CheckBackend(arguments)) => check_backend::run(&arguments, out),
        Some(Command::Health(arguments)) => health::run(&arguments, out),
        Some(Command::Key(arguments)) => key::run(&arguments, out),
        Some(Command::Gc(arguments)) => gc::run(&arguments, out),
        Some(Command::Inspect(arguments)) => inspect::run(&arguments, out),
        Some(Command::Rewrap(arguments)) => rewrap::run(&arguments, out),
        Some(Command::Verify(arguments)) => verify::run(&arguments, out),
        Some(Command::Encrypt(arguments)) => encrypt::run(&arguments, out),
    }
}

/// Runs a command's asynchronous part on a runtime of its own.
fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

#[cfg(test)]
mod tests;
