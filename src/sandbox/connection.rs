//! One connection: HTTP/1.1 until its end, or until a fault cuts it with a reset.

use std::{os::fd::AsFd, sync::Arc, time::Duration};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::State;

/// Serves one connection to its end.
pub(super) async fn serve(stream: TcpStream, state: Arc<State>) {
    // A second handle, so that the socket can be told to reset after hyper has closed its own.
    let Ok(socket) = stream.as_fd().try_clone_to_owned() else { return };
    let service = service_fn(|request| {
        let state = Arc::clone(&state);
        async move { state.answer(request).await }
    });
    let served = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
    if served.is_err() {
        // Closing with this set sends RST in place of FIN. Should it fail, the peer sees a plain close: a fault as well.
        rustix::net::sockopt::set_socket_linger(&socket, Some(Duration::ZERO)).ok();
    }
}
