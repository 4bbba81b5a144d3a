//! `demo`: storage, keys and proxy in one process, and the lines to paste. Everything that it needs beyond the rooms of
//! `serve` is the embedded storage.

use std::fs::{File, TryLockError};
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::Args;
use object_format::Random;

use super::{Failure, serve};
use crate::config::{self, Log};
use crate::demo::store::{self, StoreConfig};
use crate::keys::random::SystemRandom;
use crate::logging;

/// Made at start, so that the first command to paste can store something.
const BUCKET: &str = "demo";
/// The embedded storage's access key; its secret is drawn at each start.
const STORAGE_KEY: &str = "s3cloak-demo-storage";
/// What clients use unless told otherwise. No secret, so it is for this host alone.
const ACCESS_KEY: &str = "demo";
const SECRET_KEY: &str = "demo-secret";

/// How curl signs; older ones send no payload hash of their own, which S3 demands.
const SIGN: &str = "--aws-sigv4 aws:amz:us-east-1:s3 -H x-amz-content-sha256:UNSIGNED-PAYLOAD";
/// The storage's library calls every refusal of its own an error.
const LOG: &str = "warn,s3s=off";

const EXAMPLES: &str = "\
Examples:
  s3cloak demo
  s3cloak demo --listen 0.0.0.0:9000 --access-key alice --secret-key \"$SECRET\"

Nothing else has to be installed or running. What clients store lies encrypted in DIR/storage,
keys lie in DIR/keys, and DIR/config.yaml lets the other commands look at it. Starting again
with the same folder finds everything as it was.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// Where clients connect
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9000")]
    listen: SocketAddr,
    /// Where everything is kept
    #[arg(long, value_name = "DIR", default_value = "s3cloak-demo")]
    data_dir: PathBuf,
    /// Access key of the one client [default: demo]
    #[arg(long, value_name = "KEY", requires = "secret_key")]
    access_key: Option<String>,
    /// Its secret key [default: demo-secret]
    #[arg(long, value_name = "SECRET", requires = "access_key")]
    secret_key: Option<String>,
}

pub(super) fn run(arguments: &Arguments, out: &mut dyn Write) -> Result<(), Failure> {
    if arguments.access_key.is_none() && !arguments.listen.ip().is_loopback() {
        return Err(Failure::Usage(format!(
            "Other hosts can reach {}, and the demo's own keys are known to everybody: add --access-key and --secret-key.",
            arguments.listen
        )));
    }
    logging::init(&Log { filter: LOG.to_owned(), json: false, audit: None }).map_err(Failure::Failed)?;
    let folder = &arguments.data_dir;
    let made = std::fs::create_dir_all(folder);
    made.map_err(|error| Failure::Failed(format!("{}: {error}", folder.display())))?;
    // Until the process ends.
    let _held = hold(folder)?;
    // Told here and not by the gateway, so that the lines to paste are printed only where they will work.
    let taken = TcpListener::bind(arguments.listen);
    drop(taken.map_err(|error| Failure::Failed(format!("cannot listen on {}: {error}", arguments.listen)))?);

    let secret = random_secret();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let entered = runtime.enter();
    let listener = TcpListener::bind((IpAddr::V4(Ipv4Addr::LOCALHOST), 0))?;
    let storage = store::serve(listener, StoreConfig::folder(folder.join("storage"), STORAGE_KEY, &*secret))?;
    storage.create_bucket(BUCKET)?;
    drop(entered);

    let client = Client {
        url: format!("http://{}", arguments.listen),
        access_key: arguments.access_key.as_deref().unwrap_or(ACCESS_KEY),
        secret_key: arguments.secret_key.as_deref().unwrap_or(SECRET_KEY),
    };
    let file = folder.join("config.yaml");
    write_private(&file, &configuration(arguments.listen, &client, &storage.endpoint(), &secret))?;
    let config = config::load(&file, true).map_err(|faults| Failure::Usage(faults.to_string()))?;
    write!(out, "{}", client.instructions(folder, &program()))?;
    out.flush()?;
    serve::gateway(config)
}

/// Who the lines to paste are for.
struct Client<'a> {
    url: String,
    access_key: &'a str,
    secret_key: &'a str,
}

impl Client<'_> {
    fn instructions(&self, folder: &Path, program: &str) -> String {
        let Client { url, access_key, secret_key } = self;
        let folder = shell(&folder.display().to_string());
        let user = shell(&format!("{access_key}:{secret_key}"));
        let (access_key, secret_key) = (shell(access_key), shell(secret_key));
        format!(
            "\
s3cloak demo: S3 at {url}, encrypted storage in {folder}

In another terminal:

    export AWS_ACCESS_KEY_ID={access_key} AWS_SECRET_ACCESS_KEY={secret_key}
    export AWS_DEFAULT_REGION=us-east-1 AWS_ENDPOINT_URL={url}
    echo 'Only I can read this.' > hello.txt

  AWS CLI
    aws s3 cp hello.txt s3://{BUCKET}/
    aws s3 ls s3://{BUCKET}/
    aws s3 cp s3://{BUCKET}/hello.txt -

  rclone
    export RCLONE_S3_PROVIDER=Other RCLONE_S3_ENV_AUTH=true RCLONE_S3_ENDPOINT={url}
    rclone copyto hello.txt :s3:{BUCKET}/hello-too.txt
    rclone cat :s3:{BUCKET}/hello-too.txt

  curl
    curl {SIGN} --user {user} -T hello.txt {url}/{BUCKET}/hello.txt
    curl {SIGN} --user {user} {url}/{BUCKET}/hello.txt

What the storage holds of it:

    od -c {folder}/storage/{BUCKET}/hello.txt | head
    {program} inspect --config {folder}/config.yaml s3://{BUCKET}/hello.txt

Ctrl-C ends the demo. Data and keys stay in {folder}.
"
        )
    }
}

/// The configuration that the demo runs with, also for the other commands.
fn configuration(listen: SocketAddr, client: &Client<'_>, endpoint: &str, secret: &str) -> String {
    format!(
        "\
# Written by `s3cloak demo` at each start.
listen:
  - address: {}
backends:
  default:
    endpoint: {}
    access_key: {STORAGE_KEY}
    secret_key: {}
    profile: {{ whole_self_copies: true }}
keys:
  services: {{ local: {{ type: local, path: keys }} }}
  create_missing: true
credentials:
  - access_key: {}
    secret_key: {}
    allow: [{{ buckets: [\"*\"], actions: [read, write, admin], keys: [\"*\"] }}]
log: {{ filter: \"{LOG}\" }}
",
        yaml(&listen.to_string()),
        yaml(endpoint),
        yaml(secret),
        yaml(client.access_key),
        yaml(client.secret_key),
    )
}

/// A text as YAML reads it back: JSON's quoting is YAML's too; a `${` stands for itself.
fn yaml(text: &str) -> String {
    serde_json::Value::from(text.replace("${", "$${")).to_string()
}

/// A word as a POSIX shell reads it back.
fn shell(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_./:@%+=".contains(&b);
    if !text.is_empty() && text.bytes().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// How this program was called, for lines to paste.
fn program() -> String {
    std::env::args().next().map_or_else(|| "s3cloak".to_owned(), |name| shell(&name))
}

fn random_secret() -> String {
    let mut bytes = [0; 24];
    SystemRandom.fill(&mut bytes);
    hex::encode(bytes)
}

/// Keeps other demos out of the folder for as long as the file is open: one would overwrite the configuration that another
/// one has told people to use, and neither would see what the other stores.
fn hold(folder: &Path) -> Result<File, Failure> {
    let path = folder.join("lock");
    let told = |error: std::io::Error| Failure::Failed(format!("{}: {error}", path.display()));
    let file = File::options().write(true).create(true).truncate(false).open(&path).map_err(told)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Failure::Failed(format!(
            "another demo is running in {}: end it, or name another folder with --data-dir",
            folder.display()
        ))),
        Err(TryLockError::Error(error)) => Err(told(error)),
    }
}

/// Writes a file that only its owner can read.
fn write_private(file: &Path, text: &str) -> Result<(), Failure> {
    let written = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(file)
        .and_then(|mut open| open.write_all(text.as_bytes()));
    written.map_err(|error| Failure::Failed(format!("{}: {error}", file.display())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Surroundings, parse};

    #[test]
    fn odd_secrets_survive_configuration_and_shell() {
        let odd = "a'b\"c ${HOME} \\ é";
        let client = Client { url: "http://127.0.0.1:9000".into(), access_key: "alice", secret_key: odd };
        let text = configuration(([127, 0, 0, 1], 9000).into(), &client, "http://127.0.0.1:1", "s");
        let around = Surroundings { variable: &|_| None, folder: Path::new("."), listens: true };
        let config = parse(&text, "config.yaml", &around).unwrap_or_else(|faults| panic!("{faults}"));
        assert_eq!(config.credentials[0].secret_key.expose(), odd);
        assert_eq!(shell("it's"), r"'it'\''s'");
        let lines = client.instructions(Path::new("my data"), "s3cloak");
        assert!(lines.contains("'my data'/storage/demo/hello.txt"), "{lines}");
    }

    #[test]
    fn a_folder_has_one_demo_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let first = hold(folder.path()).unwrap();
        let second = hold(folder.path()).unwrap_err();
        assert!(matches!(second, Failure::Failed(text) if text.contains("--data-dir")));
        drop(first);
        hold(folder.path()).unwrap();
        assert!(hold(&folder.path().join("missing")).is_err());
    }

    #[test]
    fn well_known_keys_are_for_this_host_alone() {
        let arguments = Arguments {
            listen: ([0, 0, 0, 0], 9000).into(),
            data_dir: "unused".into(),
            access_key: None,
            secret_key: None,
        };
        let refused = run(&arguments, &mut Vec::new()).unwrap_err();
        assert!(matches!(refused, Failure::Usage(text) if text.contains("--access-key")));
    }
}
