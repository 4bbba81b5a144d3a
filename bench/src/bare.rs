//! The least that a Pingora proxy can be: every request goes to one upstream as it came. What s3cloak costs beyond this
//! is its own.

use std::net::SocketAddr;
use std::thread::available_parallelism;

use async_trait::async_trait;
use pingora::proxy::{ProxyHttp, Session, http_proxy_service};
use pingora::server::Server;
use pingora::server::configuration::ServerConf;
use pingora::upstreams::peer::HttpPeer;

use crate::Failure;

struct Bare(SocketAddr);

#[async_trait]
impl ProxyHttp for Bare {
    type CTX = ();

    fn new_ctx(&self) -> Self::CTX {}

    async fn upstream_peer(&self, _: &mut Session, (): &mut ()) -> pingora::Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(self.0, false, String::new())))
    }
}

/// Serves until the process is killed.
pub(crate) fn run(listen: SocketAddr, upstream: SocketAddr) -> Result<(), Failure> {
    let threads = available_parallelism()?.get();
    let conf = ServerConf { threads, ..ServerConf::default() };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let mut service = http_proxy_service(&server.configuration, Bare(upstream));
    service.add_tcp(&listen.to_string());
    server.add_service(service);
    server.run_forever()
}
