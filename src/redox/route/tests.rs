//! Through a proxy, and each way in which a server cannot be reached: real handshakes with certificates made for this
//! (`certs/`: an authority, a server key, and certificates for it that are good, expired, another host's, or a stranger's).

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        self,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    },
};

use super::*;
use crate::redox::{Client, client::tests::key, settings};

fn certificate(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/redox/route/certs").join(name)
}

/// Reads up to the end of a head; `None` when the connection ends before.
async fn head(stream: &mut (impl AsyncReadExt + Unpin)) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    String::from_utf8(head).ok()
}

/// A server that shows this certificate, gives tokens, and takes everything.
async fn server(shown: &str) -> SocketAddr {
    let chain = CertificateDer::pem_file_iter(certificate(shown)).unwrap().map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(certificate("server-key.pem")).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config.with_no_client_auth().with_single_cert(chain, key).unwrap()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let mut stream = acceptor.accept(stream).await.ok()?;
                let head = head(&mut stream).await?.to_lowercase();
                let length = head.split("content-length: ").nth(1)?.split("\r\n").next()?.parse().ok()?;
                stream.read_exact(&mut vec![0; length]).await.ok()?;
                let body = r#"{"access_token":"t","expires_in":300}"#;
                let answer = format!(
                    "HTTP/1.1 201 X\r\nConnection: close\r\nLocation: /x\r\nContent-Length: {}\r\n\r\n{body}",
                    body.len()
                );
                stream.write_all(answer.as_bytes()).await.ok()?;
                stream.shutdown().await.ok()
            });
        }
    });
    address
}

/// A proxy that leads every connection to one server, or answers it with `refusal`; and the requests that it saw.
async fn proxy(target: SocketAddr, refusal: Option<&'static str>) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let record = Arc::clone(&seen);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let record = Arc::clone(&record);
            tokio::spawn(async move {
                let head = head(&mut stream).await?;
                record.lock().unwrap().push(head.lines().next()?.to_owned());
                if let Some(refusal) = refusal {
                    return stream.write_all(refusal.as_bytes()).await.ok();
                }
                stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.ok()?;
                let mut server = TcpStream::connect(target).await.ok()?;
                tokio::io::copy_bidirectional(&mut stream, &mut server).await.ok().map(drop)
            });
        }
    });
    (url, seen)
}

fn client(proxy: &str, change: impl FnOnce(&mut Settings)) -> Client {
    let mut settings = Settings { private_key: key().1.clone(), ..settings::for_tests("https://redox.test") };
    settings.proxy = Some(proxy.to_owned());
    settings.ca_file = Some(certificate("authority.pem"));
    change(&mut settings);
    Client::new(settings).unwrap()
}

async fn failure(client: &Client) -> (Unreachable, String) {
    match client.token().await {
        Err(Failure::Unreachable { kind, why }) => {
            assert!(!why.contains("://redox.test") && !why.contains("/v2/"), "no URL: {why}");
            (kind, why)
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn everything_goes_through_the_configured_proxy() {
    let (proxy, seen) = proxy(server("good.pem").await, None).await;
    let client = client(&proxy, |_| {});
    client.token().await.unwrap();
    let (file, content) = crate::redox::body::tests::file_of(b"abc");
    assert_eq!(client.upload(&file, &content).await.unwrap(), "https://redox.test/x");
    let seen = seen.lock().unwrap();
    // Host and port are all that a proxy learns.
    assert!(seen.len() == 2 && seen.iter().all(|line| line == "CONNECT redox.test:443 HTTP/1.1"), "{seen:?}");
}

#[tokio::test]
async fn certificates_that_cannot_be_trusted_are_told_apart() {
    for (shown, words) in [
        ("expired.pem", "expired on 2021-01-01"),
        ("stranger.pem", "not signed by a known authority"),
        ("elsewhere.pem", "another host's"),
    ] {
        let (proxy, _) = proxy(server(shown).await, None).await;
        let (kind, why) = failure(&client(&proxy, |_| {})).await;
        assert_eq!(kind, Unreachable::Tls, "{why}");
        assert!(why.starts_with("TLS: ") && why.contains(words) && why.contains("redox.test"), "{shown}: {why}");
    }
    let (proxy, _) = proxy(server("good.pem").await, None).await;
    let (kind, why) = failure(&client(&proxy, |settings| settings.ca_file = None)).await;
    assert!(kind == Unreachable::Tls && why.contains("ca_file"), "{why}");
}

#[tokio::test]
async fn a_server_without_tls_is_no_encrypted_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.ok();
        }
    });
    let (proxy, _) = proxy(target, None).await;
    let (kind, why) = failure(&client(&proxy, |_| {})).await;
    assert_eq!(kind, Unreachable::Tls, "{why}");
}

#[tokio::test]
async fn a_proxy_that_does_not_connect_us_is_named() {
    let target = server("good.pem").await;
    for (refusal, words) in [
        ("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "wants a login"),
        ("HTTP/1.1 403 Forbidden\r\n\r\n", "does not connect to redox.test"),
        ("HTTP/1.1 502 Bad Gateway\r\n\r\n", "does not connect to redox.test"),
    ] {
        let (proxy, _) = proxy(target, Some(refusal)).await;
        let (kind, why) = failure(&client(&proxy, |_| {})).await;
        assert_eq!(kind, Unreachable::Proxy, "{why}");
        assert!(why.contains(words) && why.contains(&proxy["http://".len()..]), "{why}");
    }
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (kind, why) = failure(&client(&format!("http://{free}"), |_| {})).await;
    assert_eq!(kind, Unreachable::Proxy, "{why}");
    assert!(why.contains("refused") && why.contains(&free.to_string()), "{why}");
}

#[test]
fn causes_that_no_test_can_bring_about() {
    let host = "api.redoxengine.com";
    let direct = Route { host: host.into(), proxy: None, configured: None, is_direct: false };
    let behind = Route { proxy: Some("proxy.clinic:3128".into()), ..direct.clone() };
    let dns = "dns error: failed to lookup address information: Name or service not known";
    for (route, is_timeout, io, cause, kind, words) in [
        (&direct, false, None, dns, Unreachable::Dns, "DNS: no such host api.redoxengine.com"),
        (&behind, false, None, dns, Unreachable::Proxy, "Proxy: DNS: no such host the proxy proxy.clinic:3128"),
        (&direct, false, None, "dns error: Temporary failure in name resolution", Unreachable::Dns, "at the moment"),
        (&direct, true, None, "operation timed out", Unreachable::Timeout, "within 10 seconds"),
        (&direct, false, Some(io::ErrorKind::TimedOut), "tcp connect error", Unreachable::Timeout, host),
        (&behind, true, None, "operation timed out", Unreachable::Proxy, "proxy.clinic:3128"),
        (&direct, false, Some(io::ErrorKind::NetworkUnreachable), "tcp connect error", Unreachable::Other, host),
        (&direct, false, None, "invalid peer certificate: certificate not valid yet", Unreachable::Tls, "clock"),
        (&direct, false, None, "received fatal alert: HandshakeFailure", Unreachable::Tls, "no encrypted connection"),
    ] {
        let (found, said) = route.diagnosis(is_timeout, io, &[cause.to_owned()]);
        assert_eq!(found, kind, "{cause}: {said}");
        assert!(said.contains(words), "{cause}: {said}");
    }
}

#[test]
fn a_proxy_is_a_host_and_a_port() {
    for (proxy, works) in [
        ("http://proxy.clinic.example:3128", true),
        ("https://proxy.clinic.example/", true),
        ("proxy.clinic.example:3128", false),
        ("socks5://proxy:1080", false),
        ("http://proxy:3128/path", false),
        ("http://proxy:3128?a", false),
        ("http://user:secret@proxy:3128", false),
        ("", false),
    ] {
        let mut settings = settings::for_tests("https://redox.test");
        settings.proxy = Some(proxy.into());
        match Route::new(&settings, &settings.base().unwrap()) {
            Ok(route) => assert!(works && route.proxy.is_some(), "{proxy}"),
            Err(error) => assert!(!works && !error.to_string().contains("secret"), "{proxy}: {error}"),
        }
    }
    let mut settings = settings::for_tests("http://127.0.0.1:8790");
    settings.proxy = Some("http://proxy.clinic.example:3128".into());
    assert_eq!(
        Route::new(&settings, &settings.base().unwrap()).unwrap().proxy,
        None,
        "this computer is reached directly"
    );
}
