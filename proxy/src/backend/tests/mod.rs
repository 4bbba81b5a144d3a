//! The backend's client against scripted servers on loopback: what it sends, and what it makes of every answer.

mod calls;
mod fake;
mod probing;
mod server;
mod uploads;

use std::time::Duration;

use super::*;
use crate::config::{
    Addressing, BackendLimits, BackendTimeouts, ProfileOverrides, Secret, StaticKeys,
    SystemArea as SystemConfig, UploadFraming,
};
use crate::s3::name::ObjectKey;

/// Deadlines that stop a test but are not met by it; those that a test wants to see are set there.
const LONG: Duration = Duration::from_secs(30);

fn config(address: std::net::SocketAddr) -> config::Backend {
    config::Backend {
        endpoint: format!("http://{address}").parse().unwrap(),
        region: "us-east-1".into(),
        keys: keys("OWNKEY"),
        addressing: Addressing::Path,
        ca: None,
        system: SystemConfig { bucket: bucket("s3cloak-system"), prefix: String::new(), gc_min_age: LONG },
        profile: ProfileOverrides { framing: Some(UploadFraming::UnsignedTrailer), ..Default::default() },
        limits: BackendLimits { put: 5 << 30, metadata: 8192 },
        timeouts: BackendTimeouts { connect: LONG, response: LONG, idle: LONG },
    }
}

fn backend(address: std::net::SocketAddr) -> Backend {
    Backend::new("test", config(address)).unwrap()
}

fn keys(access_key: &str) -> StaticKeys {
    StaticKeys { access_key: access_key.into(), secret_key: Secret::new("secret"), session_token: None }
}

fn bucket(name: &str) -> BucketName {
    BucketName::parse(name.as_bytes()).unwrap()
}

fn key(name: &str) -> ObjectKey {
    ObjectKey::parse(name.as_bytes()).unwrap()
}

fn object(method: http::Method) -> Outgoing {
    Outgoing::object(method, &bucket("bkt"), &key("dir/../a b+"))
}

fn get() -> Outgoing {
    object(http::Method::GET)
}

fn put() -> Outgoing {
    object(http::Method::PUT)
}
