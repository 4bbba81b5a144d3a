//! `kes-testd`: the KES-compatible test server for development. Not for real keys: it keeps them in clear.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use kms_client::kes::ApiKey;
use kms_client::testserver::{Config, Options, TestKes};

/// KES's own port, on loopback.
const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7373);

/// A server that speaks like MinIO KES, for development and tests. It keeps keys in clear: never use it for real ones.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// A configuration file of KES to follow, with its keys in a folder (`keystore.fs`).
    #[arg(long, value_name = "FILE", conflicts_with_all = ["data", "memory", "keys", "ca", "api_key"])]
    config: Option<PathBuf>,
    /// Address to listen on, instead of 127.0.0.1:7373 or the configuration's.
    #[arg(long)]
    listen: Option<SocketAddr>,
    /// Folder that keeps keys, API key and certificates.
    #[arg(long, required_unless_present_any = ["memory", "config"])]
    data: Option<PathBuf>,
    /// Keep everything in memory instead.
    #[arg(long, conflicts_with = "data")]
    memory: bool,
    /// Make this key if it is missing; may be repeated.
    #[arg(long = "key", value_name = "NAME")]
    keys: Vec<String>,
    /// Where to write the CA that clients must trust.
    #[arg(long, value_name = "FILE", default_value = "kes-testd-ca.crt")]
    ca: PathBuf,
    /// The admin's API key, instead of a random or kept one.
    #[arg(long, env = "KES_TESTD_API_KEY", hide_env_values = true, value_name = "KEY")]
    api_key: Option<String>,
    /// Offer HTTP/1.1 only.
    #[arg(long)]
    http1: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kes-testd: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<(), Box<dyn std::error::Error>> {
    let Arguments { config, listen, data, memory: _, keys, ca, api_key, http1 } = arguments;
    if let Some(file) = config {
        let fault = |e: &dyn std::fmt::Display| format!("{}: {e}", file.display());
        let text = std::fs::read_to_string(&file).map_err(|e| fault(&e))?;
        let config = Config::parse(&text, |name| std::env::var(name).ok()).map_err(|e| fault(&e))?;
        let server = TestKes::start_configured(&config, listen, !http1).await.map_err(|e| fault(&e))?;
        println!("Endpoint  {}", server.endpoint());
        tokio::signal::ctrl_c().await?;
        return Ok(());
    }
    let listen = listen.unwrap_or(DEFAULT_LISTEN);
    let api_key = api_key.as_deref().map(ApiKey::parse).transpose()?;
    let names =
        keys.iter().map(|name| kms_client::KeyName::new(name.as_str())).collect::<Result<Vec<_>, _>>()?;
    let server = TestKes::start_with(Options { listen, data, http2: !http1, api_key })
        .await
        .map_err(|e| format!("cannot listen on {listen}: {e}"))?;
    std::fs::write(&ca, server.ca_pem()).map_err(|e| format!("cannot write {}: {e}", ca.display()))?;
    for name in &names {
        server.create_key(name.as_str());
    }
    println!("Endpoint  {}", server.endpoint());
    println!("API key   {}", server.api_key());
    println!("CA        {}", ca.display());
    for name in names {
        println!("Key       {name}");
    }
    tokio::signal::ctrl_c().await?;
    Ok(())
}
