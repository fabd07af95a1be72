//! Where the API listens: on a Unix socket for the commands, and over TCP where that is configured.

use std::{
    fs::{self, Permissions},
    io,
    net::SocketAddr,
    os::unix::{
        fs::{FileTypeExt, PermissionsExt},
        net::UnixStream,
    },
    path::Path,
    sync::Arc,
};

use axum::{
    Router,
    extract::Request,
    http::{HeaderMap, Method, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use tokio::net::{TcpListener, UnixListener};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{
    api,
    desk::Desk,
    limited::Limited,
    login::{self, Doors},
    page,
    problem::ApiProblem,
    tls::TlsListener,
    who,
};
use crate::config::Status;

/// The service's user and the socket's group may use the commands.
const SOCKET_MODE: u32 = 0o660;
/// Connections that are open at a time, on each listener; more wait until one is closed.
const MOST_CONNECTIONS: usize = 256;

/// Answers until the end. What cannot listen is said once; deliveries go on without it.
pub async fn serve(desk: Arc<Desk>, settings: Status, shutdown: CancellationToken) {
    let socket = over_socket(api::router(Arc::clone(&desk)), &settings, shutdown.clone());
    let tcp = async {
        if let Some(address) = settings.listen {
            over_tcp(desk, &settings, address, shutdown.clone()).await;
        }
    };
    tokio::join!(socket, tcp);
}

async fn over_socket(router: Router, settings: &Status, shutdown: CancellationToken) {
    let path = &settings.socket;
    let listener = match bind(path, settings.socket_group.as_deref()) {
        Ok(listener) => listener,
        Err(error) => {
            warn!(socket = %path.display(), "the commands cannot talk to this chartdrop: its socket cannot be made ({error}). Deliveries go on. Set status.socket to a place where chartdrop may write");
            return;
        }
    };
    let service = router.into_make_service_with_connect_info::<who::Caller>();
    let end = async move { shutdown.cancelled().await };
    // Only a listener that is gone ends this with an error.
    axum::serve(Limited::new(listener, MOST_CONNECTIONS), service).with_graceful_shutdown(end).await.ok();
    fs::remove_file(path).ok();
}

/// Makes the socket; one that a killed daemon left behind is replaced.
fn bind(path: &Path, group: Option<&str>) -> io::Result<UnixListener> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "another kind of file is in its place"));
        }
        Ok(_) if UnixStream::connect(path).is_ok() => {
            return Err(io::Error::new(io::ErrorKind::AddrInUse, "another chartdrop answers there"));
        }
        Ok(_) => fs::remove_file(path)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    // Nobody else before its mode and group are right.
    let listener = UnixListener::bind(path)?;
    if let Some(name) = group {
        let gid = who::group(name)
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("there is no group {name}")))?;
        std::os::unix::fs::chown(path, None, Some(gid)).inspect_err(|_| drop(fs::remove_file(path)))?;
    }
    fs::set_permissions(path, Permissions::from_mode(SOCKET_MODE))?;
    Ok(listener)
}

/// Loopback without users answers everybody on this machine; users have to log in. The configuration has seen to it that
/// other addresses have users and a certificate.
async fn over_tcp(desk: Arc<Desk>, settings: &Status, address: SocketAddr, shutdown: CancellationToken) {
    let is_loopback = address.ip().is_loopback();
    if !is_loopback && (settings.tls.is_none() || settings.users.is_none()) {
        warn!(%address, "nothing listens there: other machines are answered over TLS and to users alone");
        return;
    }
    let Some(keys) = page::Keys::new(settings.tls.is_some()) else {
        warn!(%address, "nothing listens there: this machine gives no random numbers");
        return;
    };
    let listener = match TcpListener::bind(address).await {
        Ok(listener) => listener,
        Err(error) => {
            warn!(%address, "nothing listens there: {error}. Deliveries go on. Set status.listen to a free address");
            return;
        }
    };
    let bound = listener.local_addr().unwrap_or(address);
    let doors = settings.users.clone().map(Doors::new);
    let mut router = api::routes(Arc::clone(&desk)).merge(page::router(desk, keys, doors.clone()));
    if let Some(doors) = doors {
        router = router.layer(middleware::from_fn_with_state(doors, login::guard));
    }
    // With a certificate the browser itself sees to it that the name is ours.
    let names = if settings.tls.is_some() { Names::Any } else { Names::ThisMachine };
    let router = router
        .layer(middleware::from_fn(move |request, next| same_site(names, request, next)))
        .layer(middleware::from_fn(page::headers));
    let service = router.into_make_service_with_connect_info::<who::Caller>();
    let end = async move { shutdown.cancelled().await };
    let listener = Limited::new(listener, MOST_CONNECTIONS);
    match settings.tls.clone() {
        None => {
            info!(address = %bound, "answering");
            axum::serve(listener, service).with_graceful_shutdown(end).await.ok();
        }
        Some(tls) => match TlsListener::new(listener, tls) {
            Ok(listener) => {
                info!(address = %bound, "answering over TLS");
                axum::serve(listener, service).with_graceful_shutdown(end).await.ok();
            }
            Err(why) => warn!(%address, "nothing listens there: {why}. Deliveries go on"),
        },
    }
}

/// What a request may call this machine.
#[derive(Clone, Copy)]
enum Names {
    ThisMachine,
    Any,
}

/// A page of another site, opened in a browser on this machine, must not steer chartdrop: neither by a name that leads
/// here, nor by a form.
async fn same_site(names: Names, request: Request, next: Next) -> Response {
    if is_from_here(names, request.method(), request.headers()) {
        return next.run(request).await;
    }
    ApiProblem::new(StatusCode::FORBIDDEN, "other-site", "Only pages of chartdrop itself are answered here.")
        .into_response()
}

fn is_from_here(names: Names, method: &Method, headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let Some(host) = text(header::HOST) else { return false };
    let name = host
        .rsplit_once(':')
        .filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()))
        .map_or(host, |(name, _)| name);
    if matches!(names, Names::ThisMachine) && !["localhost", "127.0.0.1", "[::1]"].contains(&name) {
        return false;
    }
    let is_ours = |origin: &str| origin.split_once("://").is_some_and(|(_, origin)| origin == host);
    let site = headers.get("sec-fetch-site").and_then(|value| value.to_str().ok());
    method.is_safe()
        || (headers.get(header::ORIGIN).is_none_or(|origin| origin.to_str().is_ok_and(is_ours))
            && site.is_none_or(|site| site == "same-origin" || site == "none"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(method: Method, headers: &[(&'static str, &'static str)]) -> bool {
        asked_of(Names::ThisMachine, method, headers)
    }

    fn asked_of(names: Names, method: Method, headers: &[(&'static str, &'static str)]) -> bool {
        let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        is_from_here(names, &method, &headers)
    }

    #[test]
    fn another_site_cannot_steer_it_through_a_browser() {
        assert!(asked(Method::GET, &[("host", "127.0.0.1:8780")]));
        assert!(asked(Method::GET, &[("host", "localhost:8780"), ("origin", "http://localhost:8780")]));
        assert!(asked(Method::POST, &[("host", "[::1]:8780"), ("origin", "http://[::1]:8780")]));
        assert!(asked(Method::POST, &[("host", "127.0.0.1:8780")]), "curl sends no origin");
        assert!(!asked(Method::GET, &[("host", "evil.example:8780")]), "a name that leads here");
        assert!(!asked(Method::GET, &[]));
        assert!(!asked(Method::POST, &[("host", "127.0.0.1:8780"), ("origin", "http://evil.example")]));
        assert!(!asked(Method::POST, &[("host", "127.0.0.1:8780"), ("origin", "null")]));
        assert!(!asked(Method::POST, &[("host", "127.0.0.1:8780"), ("sec-fetch-site", "cross-site")]));
        let there = ("host", "charts.clinic.example");
        assert!(asked_of(Names::Any, Method::POST, &[there, ("origin", "https://charts.clinic.example")]));
        assert!(!asked_of(Names::Any, Method::POST, &[there, ("origin", "https://evil.example")]));
    }
}
