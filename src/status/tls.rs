//! TLS in front of the page: handshakes beside each other, and a renewed certificate without a restart.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::serve::{IncomingStream, Listener};
use jiff::Timestamp;
use tokio::{net::TcpListener, sync::mpsc, time::timeout};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::aws_lc_rs,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    },
    server::TlsStream,
};
use tracing::{info, warn};

use super::limited::{Limited, Placed};
use crate::config::Tls;

/// How long a client may take to shake hands.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Connections that have shaken hands and were not taken yet.
const READY: usize = 16;
/// How often the certificate's files are looked at.
const LOOK: Duration = Duration::from_secs(60);

type Io = TlsStream<Placed<tokio::net::TcpStream>>;

/// Connections that have shaken hands.
pub struct TlsListener {
    address: SocketAddr,
    ready: mpsc::Receiver<(Io, SocketAddr)>,
}

impl TlsListener {
    /// Begins to listen; the error is for a person.
    pub fn new(listener: Limited<TcpListener>, tls: Tls) -> Result<Self, String> {
        let address = listener.local_addr().map_err(|error| error.to_string())?;
        let acceptor = acceptor(&tls)?;
        let (to, ready) = mpsc::channel(READY);
        tokio::spawn(accept(listener, tls, acceptor, to));
        Ok(Self { address, ready })
    }
}

/// Ends when nobody takes connections any more.
async fn accept(
    mut listener: Limited<TcpListener>,
    tls: Tls,
    mut acceptor: TlsAcceptor,
    to: mpsc::Sender<(Io, SocketAddr)>,
) {
    let mut seen = changed(&tls);
    let mut looks = tokio::time::interval(LOOK);
    loop {
        tokio::select! {
            () = to.closed() => return,
            _ = looks.tick() => {
                let now = changed(&tls);
                if now != seen {
                    seen = now;
                    match self::acceptor(&tls) {
                        Ok(new) => {
                            acceptor = new;
                            info!("the page's certificate was read again");
                        }
                        Err(why) => warn!("the page's new certificate cannot be used, and the old one goes on: {why}"),
                    }
                }
            }
            (io, address) = listener.accept() => {
                let (acceptor, to) = (acceptor.clone(), to.clone());
                tokio::spawn(async move {
                    // Whoever does not speak TLS, or too slowly, is let go of.
                    if let Ok(Ok(stream)) = timeout(HANDSHAKE, acceptor.accept(io)).await {
                        to.send((stream, address)).await.ok();
                    }
                });
            }
        }
    }
}

/// When the files were changed.
fn changed(tls: &Tls) -> [Option<Timestamp>; 2] {
    [&tls.certificate, &tls.key].map(|path| Timestamp::try_from(path.metadata().ok()?.modified().ok()?).ok())
}

fn acceptor(tls: &Tls) -> Result<TlsAcceptor, String> {
    let wrong =
        |path: &std::path::Path, why: &dyn std::fmt::Display| format!("{} cannot be used: {why}", path.display());
    let chain = CertificateDer::pem_file_iter(&tls.certificate).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let chain = chain.map_err(|error| wrong(&tls.certificate, &error))?;
    let key = PrivateKeyDer::from_pem_file(&tls.key).map_err(|error| wrong(&tls.key, &error))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|error| wrong(&tls.certificate, &error))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

impl Listener for TlsListener {
    type Io = Io;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.ready.recv().await {
            Some(accepted) => accepted,
            // The task above ends only after this value.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        Ok(self.address)
    }
}

impl axum::extract::connect_info::Connected<IncomingStream<'_, TlsListener>> for super::who::Caller {
    fn connect_info(_: IncomingStream<'_, TlsListener>) -> Self {
        // Until the session says who it is.
        Self::Loopback
    }
}
