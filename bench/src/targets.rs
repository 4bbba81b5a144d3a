//! What is measured: the backend itself, and the proxies that stand before it, each with its configuration.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::{Process, free_address};
use crate::sign::Endpoint;
use crate::{Failure, RunOptions};

/// The columns of the table, in order.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) enum Kind {
    Direct,
    Nginx,
    Bare,
    Opaque,
    Md5,
}

impl Kind {
    pub(crate) const ALL: [Self; 5] = [Self::Direct, Self::Nginx, Self::Bare, Self::Opaque, Self::Md5];

    /// Its name on the command line and in bucket names.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Nginx => "nginx",
            Self::Bare => "bare",
            Self::Opaque => "opaque",
            Self::Md5 => "md5",
        }
    }

    /// Its column's head.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Nginx => "nginx",
            Self::Bare => "bare Pingora",
            Self::Opaque => "s3cloak opaque",
            Self::Md5 => "s3cloak md5",
        }
    }

    fn encrypts(self) -> bool {
        matches!(self, Self::Opaque | Self::Md5)
    }
}

/// The storage behind everything.
pub(crate) struct Backend {
    /// Held for as long as it is to run; `None` for one that was there before.
    _process: Option<Process>,
    endpoint: Endpoint,
}

impl Backend {
    /// The one that was named, or a new in-memory one.
    pub(crate) fn start(options: &RunOptions) -> Result<Self, Failure> {
        if let (Some(url), Some(access_key), Some(secret_key)) =
            (&options.endpoint, &options.access_key, &options.secret_key)
        {
            let address = url.strip_prefix("http://").unwrap_or(url).trim_end_matches('/').to_owned();
            let endpoint =
                Endpoint { address, access_key: access_key.clone(), secret_key: secret_key.clone() };
            return Ok(Self { _process: None, endpoint });
        }
        let address = free_address()?;
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["backend", &address.to_string()]);
        let endpoint = Endpoint {
            address: address.to_string(),
            access_key: "bench".to_owned(),
            secret_key: "bench-secret".to_owned(),
        };
        Ok(Self { _process: Some(Process::start(command, address)?), endpoint })
    }

    fn address(&self) -> Result<SocketAddr, Failure> {
        use std::net::ToSocketAddrs as _;
        let address = &self.endpoint.address;
        address.to_socket_addrs()?.next().ok_or_else(|| format!("{address} is no address").into())
    }
}

/// One column: where its load goes, and the process whose CPU time and memory count.
pub(crate) struct Target {
    pub(crate) kind: Kind,
    pub(crate) endpoint: Endpoint,
    pub(crate) bucket: String,
    process: Option<Process>,
    folder: PathBuf,
}

impl Target {
    /// Starts a proxy before `backend`; its files go below `folder`.
    pub(crate) fn start(
        kind: Kind,
        backend: &Backend,
        folder: &Path,
        options: &RunOptions,
    ) -> Result<Self, Failure> {
        let folder = folder.join(kind.name());
        fs::create_dir_all(&folder)?;
        let mut target = Self {
            kind,
            endpoint: backend.endpoint.clone(),
            bucket: format!("bench-{}", kind.name()),
            process: None,
            folder,
        };
        target.run(backend, options)?;
        Ok(target)
    }

    /// Starts its process, or starts it anew so that every cache is cold.
    pub(crate) fn run(&mut self, backend: &Backend, options: &RunOptions) -> Result<(), Failure> {
        self.process = None;
        if self.kind == Kind::Direct {
            return Ok(());
        }
        let (address, admin) = (free_address()?, free_address()?);
        let command = match self.kind {
            Kind::Direct => return Ok(()),
            Kind::Nginx => self.nginx(address, &backend.endpoint.address)?,
            Kind::Bare => {
                let mut command = Command::new(std::env::current_exe()?);
                command.args(["bare", &address.to_string(), &backend.address()?.to_string()]);
                command
            }
            Kind::Opaque | Kind::Md5 => self.s3cloak(address, admin, &backend.endpoint, options)?,
        };
        let mut process = Process::start(command, address)?;
        if self.kind.encrypts() {
            process.wait_until_ready(admin)?;
        }
        self.process = Some(process);
        self.endpoint.address = address.to_string();
        if self.kind.encrypts() {
            self.endpoint.access_key = CLIENT.0.to_owned();
            self.endpoint.secret_key = CLIENT.1.to_owned();
        }
        Ok(())
    }

    /// The proxy's process; the direct way has none.
    pub(crate) fn process(&self) -> Option<&Process> {
        self.process.as_ref()
    }

    /// Whether a restart makes listings cold.
    pub(crate) fn has_cache(&self) -> bool {
        self.kind.encrypts()
    }

    /// nginx as a pass-through that keeps nothing back: no buffering either way, keep-alive to the backend.
    fn nginx(&self, listen: SocketAddr, upstream: &str) -> Result<Command, Failure> {
        let folder = self.folder.display();
        let conf = format!(
            "worker_processes auto;
daemon off;
pid {folder}/nginx.pid;
error_log stderr error;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    client_max_body_size 0;
    client_body_buffer_size 64k;
    keepalive_requests 1000000000;
    upstream backend {{
        server {upstream};
        keepalive 256;
        keepalive_requests 1000000000;
    }}
    server {{
        listen {listen};
        location / {{
            proxy_pass http://backend;
            proxy_http_version 1.1;
            proxy_set_header Host $http_host;
            proxy_set_header Connection \"\";
            proxy_request_buffering off;
            proxy_buffering off;
            proxy_buffer_size 64k;
            proxy_buffers 4 64k;
            proxy_busy_buffers_size 128k;
        }}
    }}
}}
"
        );
        let file = self.folder.join("nginx.conf");
        fs::write(&file, conf)?;
        let mut command = Command::new(if Path::new(NGINX).exists() { NGINX } else { "nginx" });
        command.arg("-c").arg(file);
        Ok(command)
    }

    fn s3cloak(
        &self,
        listen: SocketAddr,
        admin: SocketAddr,
        backend: &Endpoint,
        options: &RunOptions,
    ) -> Result<Command, Failure> {
        let etag = self.kind.name();
        let keys = self.folder.with_file_name("keys");
        let keys = keys.display();
        let Endpoint { address, access_key, secret_key } = backend;
        let (client, secret) = CLIENT;
        let yaml = format!(
            "listen:
  - address: {listen}
admin: {{ address: {admin} }}
backends:
  default:
    endpoint: http://{address}
    region: us-east-1
    access_key: {access_key}
    secret_key: {secret_key}
    system: {{ bucket: bench-s3cloak-system }}
keys:
  services:
    main: {{ type: local, path: {keys} }}
  service: main
  default_key: bench
  create_missing: true
credentials:
  - access_key: {client}
    secret_key: {secret}
    allow: [{{ buckets: [\"*\"], actions: [read, write, admin] }}]
buckets:
  \"*\": {{ backend: default, sse: AES256, etag: {etag}, unencrypted_objects: reject, listing: lookup }}
log: {{ filter: error }}
"
        );
        let file = self.folder.join("config.yaml");
        fs::write(&file, yaml)?;
        let mut command = Command::new(&options.s3cloak);
        command.arg("serve").arg("--config").arg(file);
        Ok(command)
    }
}

/// Where Debian puts it, which is not on everybody's path.
const NGINX: &str = "/usr/sbin/nginx";

/// The client's keys at s3cloak.
const CLIENT: (&str, &str) = ("bench-client", "bench-client-secret");
