//! `listen` and `admin`: where clients and operators connect.

use std::net::SocketAddr;

use super::super::reader::{Map, Value};
use super::super::{Listener, files};

const HOW: &str = "Write an IP address and a port: 127.0.0.1:9000, 0.0.0.0:9000 or \"[::]:9000\".";

pub(super) fn admin(value: &Value<'_>) -> Option<SocketAddr> {
    let map = value.map()?;
    let address = map.need("address", HOW).and_then(|value| address(&value));
    map.close();
    address
}

pub(super) fn listeners(top: &Map<'_>, admin: Option<SocketAddr>) -> Option<Vec<Listener>> {
    let value = top.need("listen", "Write `listen:` with an item `- address: 0.0.0.0:9000` below it.")?;
    let items = value.list()?;
    if items.is_empty() {
        value.fault("the list is empty", "Write an item such as `- address: 0.0.0.0:9000`.");
    }
    let mut taken: Vec<(SocketAddr, &str)> = admin.map(|address| (address, "admin")).into_iter().collect();
    let mut listeners = Vec::new();
    for item in items {
        let Some(listener) = listener(&item) else {
            listeners.push(None);
            continue;
        };
        if let Some((_, by)) = taken.iter().find(|(other, _)| collide(*other, listener.address)) {
            item.fault(format!("{} is taken by {by} already", listener.address), "Choose another port.");
        }
        taken.push((listener.address, "another listener"));
        listeners.push(Some(listener));
    }
    listeners.into_iter().collect()
}

fn listener(item: &Value<'_>) -> Option<Listener> {
    let map = item.map()?;
    let address = map.need("address", HOW).and_then(|value| address(&value));
    let written = map.get("tls");
    let tls = written.as_ref().map(|value| {
        let map = value.map()?;
        let files = if value.listens() { files::pair(&map) } else { files::unread_pair(&map) };
        map.close();
        files
    });
    let in_front = map.get("tls_terminated_in_front").and_then(|value| value.bool()).unwrap_or(false);
    if let (Some(value), true) = (&written, in_front) {
        value.fault(
            "TLS ends here and, says `tls_terminated_in_front`, also in front",
            "Keep `tls` where clients connect to this listener, or `tls_terminated_in_front: true` behind a balancer.",
        );
    }
    let domains = match map.get("domains") {
        Some(value) => value.list()?.iter().map(domain).collect::<Vec<_>>(),
        None => Vec::new(),
    };
    let region = map.get("region").map(|value| value.text());
    map.close();
    Some(Listener {
        address: address?,
        tls: tls.map_or(Some(None), |files| files.map(Some))?,
        tls_terminated_in_front: in_front,
        domains: domains.into_iter().collect::<Option<_>>()?,
        region: region.map_or(Some(None), |region| region.map(Some))?,
    })
}

fn address(value: &Value<'_>) -> Option<SocketAddr> {
    value.parse(|text| {
        text.parse().map_err(|_| (format!("{text:?} is not an address to listen on"), HOW.into()))
    })
}

/// Whether the second socket could not be bound beside the first.
fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    one.port() == other.port()
        && one.port() != 0
        && (one.ip() == other.ip()
            || one.ip().is_unspecified() && one.is_ipv4() == other.is_ipv4()
            || other.ip().is_unspecified() && one.is_ipv4() == other.is_ipv4())
}

fn domain(value: &Value<'_>) -> Option<String> {
    value.parse(|text| {
        let name = text.to_ascii_lowercase();
        let label = |label: &str| {
            !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        if name.split('.').all(label) {
            Ok(name)
        } else {
            Err((
                format!("{text:?} is not a host name"),
                "Write the name that bucket names stand before, without scheme, port or `*.`: s3.example.com.".into(),
            ))
        }
    })
}
