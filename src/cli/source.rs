//! Where a command gets its answers: from the running daemon, or from the ledger when none runs.

use std::{io, path::Path, sync::Arc, time::Duration};

use anyhow::{Context, anyhow, bail, ensure};
use axum::{
    Router,
    body::Body,
    extract::ConnectInfo,
    http::{Method, Request, StatusCode},
};
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;
use tower::ServiceExt;

use super::owner::become_owner;
use crate::{
    config::Config,
    ledger::{Ledger, LedgerError, SledLedger},
    status::{ApiProblem, Caller, Desk, api},
};

/// Longer than any answer takes, a busy delivery that is waited for included.
const PATIENCE: Duration = Duration::from_secs(60);

/// Who answers.
pub enum Source {
    /// The running daemon, over its socket.
    Daemon(reqwest::Client),
    /// The ledger, opened by this command.
    Ledger(Router),
}

impl Source {
    /// The daemon if one runs, else the ledger, which is said.
    pub async fn open(config: &Path) -> anyhow::Result<(Config, Self)> {
        let config = Config::load(config)?;
        if let Some(daemon) = daemon(&config).await? {
            return Ok((config, daemon));
        }
        let ledger: Arc<dyn Ledger> = Arc::new(ledger(&config)?);
        eprintln!(
            "chartdrop is not running. This is what its ledger says; what you decide takes effect when it starts."
        );
        let desk = Desk::offline(config.clone(), ledger).await?;
        Ok((config, Self::Ledger(api::router(desk))))
    }

    /// The daemon, which must run.
    pub async fn daemon(config: &Path) -> anyhow::Result<(Config, Self)> {
        let config = Config::load(config)?;
        match daemon(&config).await? {
            Some(daemon) => Ok((config, daemon)),
            None => bail!("chartdrop is not running: there is nothing to tell. Start it: systemctl start chartdrop"),
        }
    }

    /// Whether a daemon answers.
    pub fn is_live(&self) -> bool {
        matches!(self, Self::Daemon(_))
    }

    /// `GET`, with what is asked for.
    pub async fn get<T: DeserializeOwned>(&self, path: &str, query: &[(&str, String)]) -> anyhow::Result<T> {
        let query: Vec<String> = query.iter().map(|(key, value)| format!("{key}={}", encode(value))).collect();
        let path = if query.is_empty() { path.to_owned() } else { format!("{path}?{}", query.join("&")) };
        self.ask(Method::GET, &path, Vec::new()).await
    }

    /// `POST`, with a JSON body.
    pub async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl serde::Serialize) -> anyhow::Result<T> {
        self.ask(Method::POST, path, serde_json::to_vec(body)?).await
    }

    async fn ask<T: DeserializeOwned>(&self, method: Method, path: &str, body: Vec<u8>) -> anyhow::Result<T> {
        let (status, bytes) = match self {
            Self::Daemon(client) => {
                let request = client.request(method, format!("http://chartdrop{path}")).body(body);
                let response = request.send().await.map_err(unanswered)?;
                (response.status(), response.bytes().await.map_err(unanswered)?)
            }
            Self::Ledger(router) => {
                let mut request = Request::builder().method(method).uri(path).body(Body::from(body))?;
                let caller = Caller::user(rustix::process::getuid().as_raw());
                request.extensions_mut().insert(ConnectInfo(caller));
                let response = router.clone().oneshot(request).await?;
                (response.status(), response.into_body().collect().await?.to_bytes())
            }
        };
        if status == StatusCode::OK {
            return serde_json::from_slice(&bytes)
                .context("chartdrop's answer cannot be read; are both of the same version?");
        }
        match serde_json::from_slice::<ApiProblem>(&bytes) {
            Ok(ApiProblem { detail, remedy: Some(remedy), .. }) => Err(anyhow!("{detail} {remedy}")),
            Ok(ApiProblem { detail, remedy: None, .. }) => Err(anyhow!("{detail}")),
            Err(_) => Err(anyhow!("chartdrop answered with status {status}")),
        }
    }
}

fn unanswered(error: reqwest::Error) -> anyhow::Error {
    anyhow::Error::new(error.without_url())
        .context("chartdrop does not answer; is it just ending? See: journalctl -u chartdrop")
}

/// `None` when nobody listens.
async fn daemon(config: &Config) -> anyhow::Result<Option<Source>> {
    let socket = &config.status.socket;
    match tokio::net::UnixStream::connect(socket).await {
        Ok(_) => {}
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused | io::ErrorKind::NotADirectory
            ) =>
        {
            return Ok(None);
        }
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => bail!(
            "You may not talk to chartdrop: its socket {} is for the service's user and its group. Use sudo, or have yourself added to that group.",
            socket.display()
        ),
        Err(error) => {
            return Err(error).with_context(|| format!("chartdrop's socket {} cannot be used", socket.display()));
        }
    }
    let client = reqwest::Client::builder().unix_socket(socket.as_path()).no_proxy().timeout(PATIENCE).build()?;
    Ok(Some(Source::Daemon(client)))
}

/// The ledger of a daemon that does not run, opened as its owner.
pub fn ledger(config: &Config) -> anyhow::Result<SledLedger> {
    become_owner(&config.ledger)?;
    match config.ledger.try_exists() {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => bail!(not_yours(&config.ledger)),
        exists => ensure!(exists.unwrap_or(false), "There is no ledger yet: nothing has been delivered."),
    }
    if let Err(error) = std::fs::read_dir(&config.ledger)
        && error.kind() == io::ErrorKind::PermissionDenied
    {
        bail!(not_yours(&config.ledger));
    }
    match SledLedger::open(&config.ledger) {
        Err(LedgerError::InUse) => bail!(
            "chartdrop is running, and nobody answers at its socket {}. Its log says why: journalctl -u chartdrop. Is status.socket the same in both configurations?",
            config.status.socket.display()
        ),
        opened => Ok(opened?),
    }
}

fn not_yours(ledger: &Path) -> String {
    format!(
        "You may not read the ledger {}. Run this as the user that chartdrop runs as, or with sudo.",
        ledger.display()
    )
}

/// Percent-encodes what is not plain, for one part of a path or a query.
pub fn encode(text: &str) -> String {
    let mut safe = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            safe.push(char::from(byte));
        } else {
            safe.push_str(&format!("%{byte:02X}"));
        }
    }
    safe
}
