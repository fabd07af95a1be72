//! A strict stand-in for Redox on this machine: for the demo, for tests, and for users who wait for their credentials.
//!
//! It judges what a client sends, so it shares no code with the client. It listens on loopback only.

mod answer;
mod binary;
mod bundle;
mod connection;
mod create;
mod faults;
mod jwks;
mod oauth;
mod record;

use std::{
    collections::HashSet,
    future::Future,
    io,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::{net::TcpListener, task::JoinSet};

use answer::{Body, Cut, json, outcome};
use faults::{Endpoint, Fault, FaultPlan, Moment};
pub use faults::{FaultError, GRAMMAR};
pub use record::{Message, Record};

#[cfg(feature = "fuzzing")]
pub use bundle::judge;

/// How strict it is, and with whom.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where to listen: an address of this machine.
    pub listen: SocketAddr,
    /// The one client it knows.
    pub client_id: String,
    /// The client's public key: a JWK or a JWKS, read again for every token.
    pub jwks: Option<PathBuf>,
    /// The sources of the environment; with more than one, every request must name one.
    pub source_ids: Vec<String>,
    /// The slugs it routes to.
    pub destinations: Vec<String>,
    /// Whether uploads in Development are refused, as for a free account.
    pub free_account: bool,
    /// How long a token is good for.
    pub token_life: Duration,
    /// The largest upload, in bytes.
    pub upload_limit: u64,
    /// The largest message, in bytes.
    pub request_limit: u64,
    /// What is to go wrong, a rule each.
    pub faults: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            client_id: "sandbox-client".into(),
            jwks: None,
            source_ids: Vec::new(),
            destinations: vec!["redox-fhir-sandbox".into()],
            free_account: false,
            token_life: Duration::from_secs(300),
            upload_limit: 30_000_000,
            request_limit: 10_000_000,
            faults: Vec::new(),
        }
    }
}

/// Why it cannot start.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// It knows no passwords, so nobody else may reach it.
    #[error("the sandbox listens on this machine only (127.0.0.1), not on {0}")]
    NotLoopback(SocketAddr),
    /// The address is taken, or not ours.
    #[error("cannot listen on {0}: {1}")]
    Listen(SocketAddr, io::Error),
    /// Tokens could never be given.
    #[error("the key file {} cannot be used: {why}", path.display())]
    Jwks {
        /// Of the option `--jwks`.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A rule of the fault plan that cannot be understood.
    #[error(transparent)]
    Fault(#[from] FaultError),
}

/// The stand-in, bound and not yet serving.
#[derive(Debug)]
pub struct Sandbox {
    listener: TcpListener,
    addr: SocketAddr,
    state: Arc<State>,
}

/// What all connections share.
#[derive(Debug)]
struct State {
    options: Options,
    base_url: String,
    faults: Mutex<FaultPlan>,
    record: Arc<Record>,
    oauth: Mutex<oauth::Issued>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Sandbox {
    /// Takes the address; port 0 takes any that is free.
    pub async fn bind(options: Options) -> Result<Self, SandboxError> {
        if !options.listen.ip().is_loopback() {
            return Err(SandboxError::NotLoopback(options.listen));
        }
        let mut faults = FaultPlan::default();
        for rule in &options.faults {
            faults.add(rule)?;
        }
        if let Some(path) = &options.jwks {
            jwks::load(path).map_err(|why| SandboxError::Jwks { path: path.clone(), why })?;
        }
        let refused = |error| SandboxError::Listen(options.listen, error);
        let listener = TcpListener::bind(options.listen).await.map_err(refused)?;
        let addr = listener.local_addr().map_err(refused)?;
        let state = State {
            options,
            base_url: format!("http://{addr}"),
            faults: Mutex::new(faults),
            record: Arc::default(),
            oauth: Mutex::default(),
        };
        Ok(Self { listener, addr, state: Arc::new(state) })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What it accepted, while it serves and afterwards.
    pub fn record(&self) -> Arc<Record> {
        Arc::clone(&self.state.record)
    }

    /// Serves until `shutdown`; then drops every connection.
    pub async fn serve(self, shutdown: impl Future<Output = ()>) {
        let mut connections = JoinSet::new();
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            tokio::select! {
                () = &mut shutdown => return,
                accepted = self.listener.accept() => {
                    if let Ok((stream, _)) = accepted {
                        connections.spawn(connection::serve(stream, Arc::clone(&self.state)));
                    }
                }
                Some(_) = connections.join_next() => {}
            }
        }
    }
}

impl State {
    /// Answers one request, or cuts its connection.
    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Body>, Cut> {
        let path = request.uri().path().to_owned();
        if let Some(rest) = path.strip_prefix("/sandbox/") {
            return self.admin(rest, request).await;
        }
        let parts: Vec<_> = path.trim_start_matches('/').split('/').collect();
        let endpoint = match parts.as_slice() {
            ["v2", "auth", "token"] => Endpoint::Token,
            ["fhir", "R4", "redox", _, "Binary"] => Endpoint::Binary,
            ["fhir", "R4", _, _, "DocumentReference", "$documentreference-create"] => Endpoint::Create,
            ["fhir", "R4", _, _, "DocumentReference", "_search"] => Endpoint::Search,
            _ => return Ok(self.refuse(&path, StatusCode::NOT_FOUND, "not-found", "no such endpoint")),
        };
        self.record.count(endpoint);
        let fault = lock(&self.faults).take(endpoint);
        match fault {
            None => self.route(endpoint, &parts, request).await,
            Some(fault) => self.answer_badly(fault, endpoint, &parts, request).await,
        }
    }

    async fn answer_badly(
        &self,
        fault: Fault,
        endpoint: Endpoint,
        parts: &[&str],
        request: Request<Incoming>,
    ) -> Result<Response<Body>, Cut> {
        if fault.revoke {
            lock(&self.oauth).forget();
        }
        tokio::time::sleep(fault.delay).await;
        if fault.early {
            return Ok(fault.answer().unwrap_or_else(|| self.premature(endpoint)));
        }
        match fault.cut {
            Some(Moment::Before) => return Err(Cut),
            Some(Moment::Mid) => {
                request.into_body().frame().await;
                return Err(Cut);
            }
            Some(Moment::After | Moment::Answer) | None => {}
        }
        if fault.hang == Some(Moment::Before) {
            return std::future::pending().await;
        }
        if let Some(answer) = fault.answer().filter(|_| !fault.commit && fault.cut.is_none()) {
            answer::drain(request).await?;
            return Ok(answer);
        }
        let mut response = self.route(endpoint, parts, request).await?;
        if fault.hang.is_some() {
            return std::future::pending().await;
        }
        if fault.cut == Some(Moment::After) {
            return Err(Cut);
        }
        if fault.no_location {
            response.headers_mut().remove(http::header::LOCATION);
        }
        if fault.slow {
            let (head, body) = response.into_parts();
            let bytes = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
            response = Response::from_parts(head, answer::slow(bytes));
        }
        response = fault.answer().unwrap_or(response);
        if fault.cut == Some(Moment::Answer) {
            let (mut head, body) = response.into_parts();
            let bytes = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
            head.headers.insert(http::header::CONTENT_LENGTH, (bytes.len() + 100).into());
            response = Response::from_parts(head, answer::cut_short(bytes));
        }
        Ok(response)
    }

    /// A good answer to a request that was not read.
    fn premature(&self, endpoint: Endpoint) -> Response<Body> {
        let status = if endpoint == Endpoint::Binary { StatusCode::CREATED } else { StatusCode::OK };
        let mut response = json(status, &serde_json::json!({}));
        let location = format!("{}/fhir/R4/redox/Staging/Binary/{}", self.base_url, record::fresh_id()).parse();
        if let (Endpoint::Binary, Ok(location)) = (endpoint, location) {
            response.headers_mut().insert(http::header::LOCATION, location);
        }
        response
    }

    async fn route(
        &self,
        endpoint: Endpoint,
        parts: &[&str],
        request: Request<Incoming>,
    ) -> Result<Response<Body>, Cut> {
        if request.method() != Method::POST {
            return Ok(self.refuse("", StatusCode::METHOD_NOT_ALLOWED, "not-supported", "only POST"));
        }
        if endpoint == Endpoint::Token {
            return oauth::token(self, request).await;
        }
        let environment = parts[3].to_owned();
        if !["Development", "Staging", "Production"].contains(&parts[3]) {
            return Ok(self.refuse("", StatusCode::NOT_FOUND, "not-found", "no such environment"));
        }
        if let Err(why) = lock(&self.oauth).check(request.headers()) {
            return Ok(self.refuse("", StatusCode::UNAUTHORIZED, "login", why));
        }
        let source = match self.source(request.headers()) {
            Ok(source) => source,
            Err(why) => return Ok(self.refuse("", StatusCode::BAD_REQUEST, "required", why)),
        };
        if endpoint != Endpoint::Binary && !self.options.destinations.iter().any(|slug| slug == parts[2]) {
            return Ok(self.refuse("", StatusCode::NOT_FOUND, "not-found", "no such destination"));
        }
        match endpoint {
            Endpoint::Binary => binary::upload(self, environment, source, request).await,
            Endpoint::Create => create::create(self, parts[2], environment, source, request).await,
            Endpoint::Search => create::search(self, request).await,
            Endpoint::Token | Endpoint::Any => {
                Ok(self.refuse("", StatusCode::NOT_FOUND, "not-found", "no such endpoint"))
            }
        }
    }

    fn source(&self, headers: &HeaderMap) -> Result<Option<String>, &'static str> {
        let known: HashSet<_> = self.options.source_ids.iter().map(String::as_str).collect();
        match headers.get("redox-source-id").map(|value| value.to_str().unwrap_or_default()) {
            Some(source) if known.is_empty() || known.contains(source) => Ok(Some(source.to_owned())),
            Some(_) => Err("no such source"),
            None if known.len() > 1 => Err("this environment has several sources: Redox-Source-Id is needed"),
            None => Ok(None),
        }
    }

    /// An error answer, kept in the record.
    fn refuse(&self, endpoint: &str, status: StatusCode, code: &str, why: &str) -> Response<Body> {
        self.record.refused(endpoint, status.as_u16(), why);
        outcome(status, code, why)
    }

    /// `/sandbox/…`: the record and the fault plan.
    async fn admin(&self, path: &str, request: Request<Incoming>) -> Result<Response<Body>, Cut> {
        let method = request.method().clone();
        let bundles = request.uri().query().is_some_and(|query| query.contains("bundles=1"));
        Ok(match (&method, path) {
            (&Method::GET, "record") => json(StatusCode::OK, &self.record.view(bundles)),
            (&Method::POST, "faults") => {
                let text = answer::read(request, 64 * 1024).await?.unwrap_or_default();
                let rules = String::from_utf8_lossy(&text).into_owned();
                let mut faults = lock(&self.faults);
                let added: Result<Vec<_>, _> =
                    rules.lines().filter(|line| !line.trim().is_empty()).map(|rule| faults.add(rule.trim())).collect();
                match added {
                    Ok(added) => json(StatusCode::OK, &serde_json::json!({ "added": added.len() })),
                    Err(error) => outcome(StatusCode::BAD_REQUEST, "invalid", &error.to_string()),
                }
            }
            (&Method::DELETE, "faults") => {
                *lock(&self.faults) = FaultPlan::default();
                json(StatusCode::OK, &serde_json::json!({}))
            }
            (&Method::GET, "healthz") => json(StatusCode::OK, &serde_json::json!({ "status": "ok" })),
            _ => outcome(StatusCode::NOT_FOUND, "not-found", "GET /sandbox/record, POST or DELETE /sandbox/faults"),
        })
    }
}
