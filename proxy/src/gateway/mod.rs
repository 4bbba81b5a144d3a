//! THE PINGORA WIRING: the only files that name pingora. Listeners, sessions and answers; no S3 rule, no key.

mod answer;
mod app;
mod server;
mod session;
mod tls;

pub use app::S3App;
pub use server::run;

use std::sync::Arc;

use pingora::protocols::l4::stream::Stream;
use pingora::services::listening::Service;

/// Serves connections of an already bound listener on the current runtime until the task is dropped: for tests and
/// for embedding. It has no signals, TLS or draining; [`run`] has.
pub async fn serve_on(listener: tokio::net::TcpListener, app: S3App) {
    let app = Arc::new(app);
    let (_keep, shutdown) = tokio::sync::watch::channel(false);
    while let Ok((tcp, _)) = listener.accept().await {
        // Nagle against delayed acknowledgements costs 40 ms an answer.
        let _ = tcp.set_nodelay(true);
        tokio::spawn(Service::<S3App>::handle_event(
            Box::new(Stream::from(tcp)),
            app.clone(),
            shutdown.clone(),
        ));
    }
}
