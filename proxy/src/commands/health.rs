//! `health`: asks a running proxy on this machine whether it is well, for images that have no shell and no curl.

use std::io::{Read as _, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use clap::Args;

use super::{ConfigFile, Failure};

/// Below the usual deadline of a container's health check.
const TIMEOUT: Duration = Duration::from_secs(3);
/// An answer is far smaller; a stranger on the port may send what it likes.
const LONGEST: u64 = 64 * 1024;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigFile,
    /// Only whether the process answers; otherwise whether it can serve, storage and keys included
    #[arg(long)]
    live: bool,
}

pub(super) fn run(arguments: &Arguments, out: &mut dyn Write) -> Result<(), Failure> {
    let config = arguments.config.load()?;
    let Some(address) = config.admin else {
        return Err(Failure::Usage(
            "There is nobody to ask: give `admin: { address: 127.0.0.1:9001 }` in the configuration."
                .to_owned(),
        ));
    };
    let path = if arguments.live { "/live" } else { "/ready" };
    let answer = ask(reachable(address), path).map_err(|e| Failure::Failed(format!("{address}: {e}")))?;
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body).trim_end();
    let status = answer.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5));
    if status != Some("200") {
        return Err(Failure::Failed(format!("not well: {} {body}", status.unwrap_or("no HTTP answer"))));
    }
    writeln!(out, "{body}")?;
    Ok(())
}

/// A listener on every address is asked on the loopback one.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}

fn ask(address: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut connection = TcpStream::connect_timeout(&address, TIMEOUT)?;
    connection.set_read_timeout(Some(TIMEOUT))?;
    connection.set_write_timeout(Some(TIMEOUT))?;
    write!(connection, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    connection.take(LONGEST).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// Runs the command against a server that sends `answer`.
    fn told(answer: &'static str) -> (Result<(), Failure>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.yaml");
        let smallest = include_str!("../../../config.yaml");
        let admin = format!("admin: {{ address: {} }}", listener.local_addr().unwrap());
        std::fs::write(&file, smallest.replace("admin: { address: 127.0.0.1:9001 }", &admin)).unwrap();
        let server = std::thread::spawn(move || {
            let (mut connection, _) = listener.accept().unwrap();
            let mut asked = Vec::new();
            while !asked.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                connection.read_exact(&mut byte).unwrap();
                asked.push(byte[0]);
            }
            connection.write_all(answer.as_bytes()).unwrap();
            String::from_utf8(asked).unwrap()
        });
        let mut out = Vec::new();
        let result = run(&Arguments { config: ConfigFile { config: file }, live: false }, &mut out);
        assert!(server.join().unwrap().starts_with("GET /ready HTTP/1.1\r\n"));
        (result, String::from_utf8(out).unwrap())
    }

    #[test]
    fn only_a_200_is_well() {
        assert_eq!(told("HTTP/1.1 200 OK\r\n\r\nyes\n"), (Ok(()), "yes\n".to_owned()));
        for bad in [
            "HTTP/1.1 503 Service Unavailable\r\n\r\nno",
            "HTTP/1.1 404 Not Found\r\n\r\n",
            "SSH-2.0-x\r\n",
            "",
        ] {
            assert!(matches!(told(bad).0, Err(Failure::Failed(_))), "{bad}");
        }
    }

    #[test]
    fn a_listener_on_all_addresses_is_asked_on_loopback() {
        let of = |text: &str| reachable(text.parse().unwrap()).to_string();
        assert_eq!(of("0.0.0.0:9001"), "127.0.0.1:9001");
        assert_eq!(of("[::]:9001"), "[::1]:9001");
        assert_eq!(of("10.0.0.1:9001"), "10.0.0.1:9001");
    }
}
