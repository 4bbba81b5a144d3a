//! `make bench`: measures s3cloak beside direct access, nginx and a bare Pingora, in one run, and prints one table.
//! The same binary is also the in-memory backend, the bare pass-through and the load client, each as a process of its own.

mod backend;
mod bare;
mod load;
mod pattern;
mod plan;
mod process;
mod sign;
mod table;
mod targets;

use std::net::SocketAddr;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Measure s3cloak as ratios to direct access, nginx and a bare Pingora pass-through.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    role: Option<Role>,
    #[command(flatten)]
    run: RunOptions,
}

/// What a run measures, and against what.
#[derive(Clone, Debug, clap::Args)]
struct RunOptions {
    /// Less of everything: below two minutes.
    #[arg(long)]
    quick: bool,
    /// A running S3 server to stand behind the proxies, such as http://127.0.0.1:8333; by default an in-memory one is
    /// started, so that the proxies and not the storage are measured.
    #[arg(long, value_name = "URL", requires_all = ["access_key", "secret_key"])]
    endpoint: Option<String>,
    /// Access key of that server.
    #[arg(long, value_name = "KEY")]
    access_key: Option<String>,
    /// Secret key of that server.
    #[arg(long, value_name = "KEY")]
    secret_key: Option<String>,
    /// The s3cloak to measure.
    #[arg(long, env = "S3CLOAK_BIN", value_name = "FILE", default_value = "target/release/s3cloak")]
    s3cloak: String,
    /// Measure these too, which a run without it leaves out: uploads and downloads in parts, and 10 000 small files
    /// synchronised by rclone and the AWS CLI (`make tools` installs both).
    #[arg(long, value_name = "WHAT", value_delimiter = ',')]
    with: Vec<Extra>,
    /// Leave these out: direct, nginx, bare, opaque, md5.
    #[arg(long, value_name = "TARGET", value_delimiter = ',')]
    skip: Vec<String>,
}

/// What takes long, and is measured on demand.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
enum Extra {
    /// Large objects in parts.
    Multipart,
    /// Trees of small files.
    Trees,
}

/// The other processes of a run.
#[derive(Debug, Subcommand)]
enum Role {
    /// The in-memory backend.
    #[command(hide = true)]
    Backend { listen: SocketAddr },
    /// A Pingora that passes everything through.
    #[command(hide = true)]
    Bare { listen: SocketAddr, upstream: SocketAddr },
    /// Carries out one job, given and answered as JSON.
    #[command(hide = true)]
    Load { job: String },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match arguments.role {
        Some(Role::Backend { listen }) => backend::run(listen),
        Some(Role::Bare { listen, upstream }) => bare::run(listen, upstream),
        Some(Role::Load { job }) => load::run(&job),
        None => plan::run(&arguments.run),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Any failure ends the run: a figure from a run that went wrong is worse than none.
type Failure = Box<dyn std::error::Error + Send + Sync>;
