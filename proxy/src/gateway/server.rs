//! The process around the application: listeners, TLS, admin endpoints, background work, graceful shutdown.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use pingora::apps::http_app::{HttpServer, ServeHttp};
use pingora::listeners::tls::TlsSettings;
use pingora::listeners::{L4BufferSettings, ListenerConfig, TcpSocketOptions, TlsAccept};
use pingora::protocols::http::ServerSession;
use pingora::server::configuration::ServerConf;
use pingora::server::{ExecutionPhase, Server, ShutdownWatch};
use pingora::services::background::{BackgroundService, background_service};
use pingora::services::listening::Service;

use super::accept_all;
use super::app::S3App;
use super::tls::ReloadingCertificate;
use crate::admin;
use crate::config::Listener;
use crate::services::Services;
use crate::uploads::sweep;

/// How often certificate files are looked at.
const CERTIFICATE_CHECK: Duration = Duration::from_secs(10);
/// What is written to a client is gathered up to this size: the head and the body of a small answer leave in one send,
/// which wakes the client once. Longer pieces go out as they are.
const WRITE_BUFFER: usize = 16 * 1024;
/// How often a draining process looks whether it is idle.
const DRAIN_CHECK: Duration = Duration::from_millis(50);

/// Serves until a signal ends the process: SIGTERM drains, SIGINT stops at once. Returns only errors of the start.
pub fn run(services: Arc<Services>) -> Result<(), String> {
    let config = services.config.clone();
    let mut server = Server::new_with_opt_and_conf(
        None,
        ServerConf {
            // Every service has a thread to itself (see `listening`).
            threads: 1,
            work_stealing: false,
            // Longer than ours, which ends the process: what Pingora ends would count as answered.
            grace_period_seconds: Some(config.limits.drain.as_secs() + 60),
            graceful_shutdown_timeout_seconds: Some(1),
            ..ServerConf::default()
        },
    );
    server.bootstrap();
    let mut certificates = Vec::new();
    for listener in &config.listen {
        // A taken port would panic inside Pingora later, without a word of what to do.
        drop(
            std::net::TcpListener::bind(listener.address)
                .map_err(|e| format!("listen {}: {e}", listener.address))?,
        );
        let certificate = listener.tls.as_ref().map(ReloadingCertificate::load).transpose()?;
        for thread in 0..std::thread::available_parallelism().map_or(2, |n| n.get()) {
            server.add_service(listening(&services, listener, certificate.as_ref(), thread)?);
        }
        certificates.extend(certificate);
    }
    if let Some(address) = config.admin {
        let admin = Admin::bind(address, services.clone()).map_err(|e| format!("admin {address}: {e}"))?;
        server.add_service(background_service("admin", admin));
    }
    server.add_service(background_service(
        "housekeeping",
        Housekeeping { services: services.clone(), certificates },
    ));
    exit_when_drained(&server, services);
    // Not before everything was found free.
    for listener in &config.listen {
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            address = %listener.address,
            tls = listener.tls.is_some(),
            "serving S3"
        );
    }
    server.run_forever()
}

/// One thread's share of a listener. Each thread has its own socket on the address, among which the kernel spreads the
/// connections, and does all that comes over them: work that moves between threads costs a fifth more CPU.
fn listening(
    services: &Arc<Services>,
    listener: &Listener,
    certificate: Option<&Arc<ReloadingCertificate>>,
    thread: usize,
) -> Result<Service<S3App>, String> {
    let mut service =
        Service::new(format!("s3 {}", listener.address), S3App::new(services.clone(), listener));
    let mut options = TcpSocketOptions::default();
    options.so_reuseport = Some(true);
    let mut endpoint = ListenerConfig::tcp(spelling(listener.address, thread))
        .tcp_socket_options(options)
        .l4_buffer(L4BufferSettings::default().write(WRITE_BUFFER));
    if let Some(certificate) = certificate {
        let mut settings =
            TlsSettings::with_callbacks(Box::new(NoCallbacks)).map_err(|e| format!("TLS settings: {e}"))?;
        settings.set_cert_resolver(certificate.clone());
        endpoint = endpoint.tls(settings);
    }
    service.add_listener(endpoint);
    Ok(service)
}

/// The address in the spelling of one thread: Pingora hands the first socket to everyone who says the same, and each would
/// close it for itself.
fn spelling(address: SocketAddr, thread: usize) -> String {
    let mut text = address.to_string();
    let port = text.rfind(':').map_or(text.len(), |colon| colon + 1);
    text.insert_str(port, &"0".repeat(thread));
    text
}

/// Pingora sleeps its whole grace period even when nothing is left to do; this ends the process as soon as the last
/// request is answered, or when `limits.drain` is over.
fn exit_when_drained(server: &Server, services: Arc<Services>) {
    let mut phases = server.watch_execution_phase();
    std::thread::spawn(move || {
        while let Ok(phase) = phases.blocking_recv() {
            if matches!(phase, ExecutionPhase::ShutdownGracePeriod) {
                let until = Instant::now() + services.config.limits.drain;
                while Instant::now() < until && services.in_flight.count() > 0 {
                    std::thread::sleep(DRAIN_CHECK);
                }
                match services.in_flight.count() {
                    0 => tracing::info!("every request is answered"),
                    cut => tracing::warn!(cut, "limits.drain is over: requests are cut off"),
                }
                std::process::exit(0);
            }
        }
    });
}

/// `with_callbacks` is the one constructor of TLS settings that asks for no paths.
struct NoCallbacks;

#[async_trait]
impl TlsAccept for NoCallbacks {}

/// The admin endpoints on a listener of their own. Pingora closes its listeners when a shutdown begins; this one stays until
/// the process ends, so that a balancer is told that it is over, and operators see what is left.
struct Admin {
    services: Arc<Services>,
    listener: parking_lot::Mutex<Option<std::net::TcpListener>>,
}

impl Admin {
    fn bind(address: SocketAddr, services: Arc<Services>) -> std::io::Result<Self> {
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(Self { services, listener: parking_lot::Mutex::new(Some(listener)) })
    }
}

#[async_trait]
impl BackgroundService for Admin {
    async fn start(&self, shutdown: ShutdownWatch) {
        // Only here there is a runtime.
        let listener = self.listener.lock().take().map(tokio::net::TcpListener::from_std);
        let listener = match listener {
            Some(Ok(listener)) => listener,
            Some(Err(error)) => return tracing::error!(%error, "no admin endpoints"),
            None => return,
        };
        let app = AdminApp { services: self.services.clone(), shutdown: shutdown.clone() };
        accept_all(listener, Arc::new(HttpServer::new_app(app)), shutdown).await;
    }
}

struct AdminApp {
    services: Arc<Services>,
    shutdown: ShutdownWatch,
}

#[async_trait]
impl ServeHttp for AdminApp {
    async fn response(&self, session: &mut ServerSession) -> http::Response<Vec<u8>> {
        let head = session.req_header();
        let stopping = *self.shutdown.borrow();
        admin::respond(&self.services, stopping, &head.method, head.uri.path())
    }
}

struct Housekeeping {
    services: Arc<Services>,
    certificates: Vec<Arc<ReloadingCertificate>>,
}

#[async_trait]
impl BackgroundService for Housekeeping {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        let started = self.services.start();
        tokio::pin!(started);
        let swept = sweep::forever(&self.services);
        tokio::pin!(swept);
        let mut starting = true;
        let mut tick = tokio::time::interval(CERTIFICATE_CHECK);
        loop {
            tokio::select! {
                () = &mut started, if starting => starting = false,
                never = &mut swept, if !starting => match never {},
                _ = tick.tick() => self.certificates.iter().for_each(|c| c.refresh()),
                _ = shutdown.changed() => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_thread_spells_the_address_in_its_own_way() {
        for address in ["127.0.0.1:9000", "[::1]:443", "0.0.0.0:1"] {
            let address: SocketAddr = address.parse().unwrap();
            let spellings: std::collections::HashSet<_> = (0..64).map(|n| spelling(address, n)).collect();
            assert_eq!(spellings.len(), 64);
            for text in spellings {
                assert_eq!(text.parse::<SocketAddr>(), Ok(address), "{text}");
            }
        }
    }
}
