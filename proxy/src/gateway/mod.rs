//! THE PINGORA WIRING: the only files that name pingora. Listeners, sessions and answers; no S3 rule, no key.

mod answer;
mod app;
mod server;
mod session;
mod tls;

pub use app::S3App;
pub use server::run;

use std::sync::Arc;
use std::time::Duration;

use pingora::apps::ServerApp;
use pingora::protocols::l4::stream::Stream;
use pingora::server::ShutdownWatch;
use pingora::services::listening::Service;
use tokio::net::TcpListener;

/// A pause after a connection could not be taken, as where no descriptor is left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(250);

/// Serves connections of an already bound listener on the current runtime until the task is dropped: for tests and
/// for embedding. It has no signals, TLS or draining; [`run`] has.
pub async fn serve_on(listener: TcpListener, app: S3App) {
    let (_keep, shutdown) = tokio::sync::watch::channel(false);
    accept_all(listener, Arc::new(app), shutdown).await;
}

/// Hands every connection to `app`, also after a shutdown has begun.
async fn accept_all<A>(listener: TcpListener, app: Arc<A>, shutdown: ShutdownWatch)
where
    A: ServerApp + Send + Sync + 'static,
{
    loop {
        let Ok((tcp, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        // Nagle against delayed acknowledgements costs 40 ms an answer.
        let _ = tcp.set_nodelay(true);
        tokio::spawn(Service::<A>::handle_event(Box::new(Stream::from(tcp)), app.clone(), shutdown.clone()));
    }
}
