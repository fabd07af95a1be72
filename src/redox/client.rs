//! The calls themselves: one token, one connection pool, and every outcome named.

use std::{
    fs::File,
    future::{Ready, ready},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use reqwest::{Certificate, Url, redirect, retry, tls};

use super::{
    Environment, Failure, Settings, SetupError,
    answer::{Reply, form},
    body::{Encoding, Envelope, Outgoing, State},
    bundle::{self, Bundle},
    classify::{Call, Verdict, classify},
    keys::SigningKey,
    locations::Locations,
    route::{CONNECT_TIME_LIMIT, Route},
    token::{Token, Tokens, skew_note},
    tree::{self, Node, Written},
};
use crate::model::problem::catalogue as known;
use crate::{
    model::document::{Content, DeliveryId},
    model::message::Answer,
    platform::effect,
};

const FHIR_JSON: HeaderValue = HeaderValue::from_static("application/fhir+json");
const FORM: HeaderValue = HeaderValue::from_static("application/x-www-form-urlencoded");
const SOURCE_ID: HeaderName = HeaderName::from_static("redox-source-id");
/// A Location past this does not fit into a row of the ledger beside its document.
const LOCATION_LIMIT: usize = 1400;
/// Shorter than load balancers keep idle connections: one that they close while a message leaves is an unknown outcome.
const IDLE: Duration = Duration::from_secs(20);
/// How often a silent HTTP/2 connection is asked whether it lives.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// Talks to one environment of Redox as one client. Cheap to share, not to make.
pub struct Client {
    http: reqwest::Client,
    /// Every URL begins with it, and no answer adds another: the token cannot leave for another host.
    base: Url,
    settings: Settings,
    source_id: Option<HeaderValue>,
    route: Route,
    tokens: Tokens,
    locations: Locations,
}

/// What `check` tells of the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenReport {
    /// What is left of its life.
    pub expires_in: Duration,
    /// This computer's clock minus Redox's, in seconds, if Redox told its time.
    pub skew: Option<i64>,
}

/// One request, as often as it takes.
struct Request {
    call: Call,
    url: Url,
    content_type: HeaderValue,
}

/// An answer that did what it was to do, and how the time stood.
pub(super) struct Sent {
    pub(super) reply: Reply,
    pub(super) url: Url,
}

impl Client {
    /// Loads the key and makes the connection pool; nothing is sent yet.
    ///
    /// # Errors
    /// Whatever makes the settings unusable, in words.
    pub fn new(settings: Settings) -> Result<Self, SetupError> {
        let base = settings.base()?;
        let key = SigningKey::load(&settings.private_key, settings.algorithm)?;
        let route = Route::new(&settings, &base)?;
        let http = http_client(&settings, &base, &route)?;
        let source_id = match &settings.source_id {
            None => None,
            Some(id) => Some(HeaderValue::from_str(id).map_err(|_| SetupError::Header { setting: "source_id" })?),
        };
        let tokens = Tokens::new(http.clone(), url(&base, &["v2", "auth", "token"]), key, &settings, route.clone());
        Ok(Self { http, base, settings, source_id, route, tokens, locations: Locations::default() })
    }

    /// How many tokens were got so far.
    pub fn token_renewals(&self) -> u64 {
        self.tokens.renewals()
    }

    /// Gets a token, to see whether it can be had.
    ///
    /// # Errors
    /// See [`Failure`]; nothing of any document is sent.
    pub async fn token(&self) -> Result<TokenReport, Failure> {
        let token = self.tokens.get().await?;
        Ok(TokenReport { expires_in: token.expires_in(), skew: token.skew })
    }

    /// Uploads a file; returns the reference URL, unchanged, that a message names it by.
    ///
    /// # Errors
    /// See [`Failure`], never `Unknown` or `Unclear`: an upload that nothing refers to does no harm and may be repeated.
    pub async fn upload(&self, file: &File, content: &Content) -> Result<String, Failure> {
        let (envelope, content_type) = Envelope::of_upload(self.settings.upload_body, &content.mime);
        let content_type = HeaderValue::from_str(&content_type).map_err(|_| Failure::Rejected {
            code: known::BAD_TYPE.code.into(),
            summary: known::BAD_TYPE.example.into(),
            remedy: known::BAD_TYPE.remedy.into(),
        })?;
        let environment = self.settings.environment;
        let request = Request {
            call: Call::Upload { development: environment == Environment::Development },
            url: url(&self.base, &["fhir", "R4", "redox", &environment.to_string(), "Binary"]),
            content_type,
        };
        let sent = self
            .send(&request, always, || {
                let file = file.try_clone().map_err(|error| unreadable(&error))?;
                Ok(Outgoing::file(envelope.clone(), file, content))
            })
            .await?;
        let location = location(&sent)?;
        if !self.locations.is_new(&location, content.sha256) {
            return Err(Failure::later("Redox gave this file the address of another one"));
        }
        Ok(location)
    }

    /// Sends the message; `file` is needed when the Bundle embeds it. Before this is called, the ledger must hold
    /// durably that it will be. `is_unchanged` is asked directly before anything leaves, when a token is there already, and
    /// again before the second try with a new token: a no ends it as [`Failure::Changed`].
    ///
    /// # Errors
    /// See [`Failure`], of which `Unknown` and `Unclear` mean that it may have arrived.
    pub async fn create<Unchanged: Future<Output = bool>>(
        &self,
        slug: &str,
        bundle: Bundle,
        file: Option<(&File, &Content)>,
        resend: bool,
        is_unchanged: impl Fn() -> Unchanged,
    ) -> Result<Answer, Failure> {
        let body = bundle.body().map_err(|_| Failure::later("the message could not be written"))?;
        let embedded = matches!(body, bundle::Body::Around { .. });
        let request = Request {
            call: Call::Create { embedded, resend },
            url: self.destination(slug, "$documentreference-create"),
            content_type: FHIR_JSON,
        };
        let sent = self
            .send(&request, is_unchanged, || match (&body, file) {
                (bundle::Body::Whole(bytes), _) => Ok(Outgoing::whole(bytes.clone())),
                (bundle::Body::Around { prefix, suffix }, Some((file, content))) => {
                    let file = file.try_clone().map_err(|error| unreadable(&error))?;
                    let (prefix, suffix) = (prefix.clone(), suffix.clone());
                    Ok(Outgoing::file(Envelope { prefix, encoding: Encoding::Base64, suffix }, file, content))
                }
                (bundle::Body::Around { .. }, None) => Err(Failure::later("the file to embed was not at hand")),
            })
            .await?;
        Ok(sent.reply.kept())
    }

    /// Whether the destination has the document of this delivery. A no is one only as an empty list of findings: whatever
    /// else comes is no answer, and the question may be asked again.
    ///
    /// # Errors
    /// See [`Failure`]; `Rejected` means that this destination does not answer searches.
    pub async fn search(&self, slug: &str, id: DeliveryId) -> Result<bool, Failure> {
        let name = id.0.urn().to_string();
        let query = form(&[("identifier", &format!("urn:ietf:rfc:3986|{name}"))]);
        let request = Request { call: Call::Search, url: self.destination(slug, "_search"), content_type: FORM };
        let sent = self.send(&request, always, || Ok(Outgoing::whole(Bytes::from(query.clone())))).await?;
        found(&sent.reply.body, &name)
            .ok_or_else(|| Failure::later("the answer to the search for the document is neither a yes nor a no"))
    }

    fn destination(&self, slug: &str, operation: &str) -> Url {
        let environment = self.settings.environment.to_string();
        url(&self.base, &["fhir", "R4", slug, &environment, "DocumentReference", operation])
    }

    /// Sends a request; once more with a new token when the first was refused.
    async fn send<Unchanged: Future<Output = bool>>(
        &self,
        request: &Request,
        is_unchanged: impl Fn() -> Unchanged,
        body: impl Fn() -> Result<Outgoing, Failure>,
    ) -> Result<Sent, Failure> {
        let mut renewed = false;
        loop {
            let token = self.tokens.get().await?;
            if !is_unchanged().await {
                return Err(Failure::Changed);
            }
            let reply = self.attempt(request, &token, body()?).await?;
            match classify(request.call, &reply) {
                Verdict::Done => return Ok(Sent { reply, url: request.url.clone() }),
                Verdict::Failed(failure) => return Err(failure),
                Verdict::Renew(failure) => {
                    self.tokens.forget(&token).await;
                    if renewed {
                        return Err(failure.with_note(skew_note(token.skew)));
                    }
                    renewed = true;
                }
            }
        }
    }

    async fn attempt(&self, request: &Request, token: &Arc<Token>, outgoing: Outgoing) -> Result<Reply, Failure> {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, token.header()?);
        headers.insert(header::CONTENT_TYPE, request.content_type.clone());
        headers.insert(header::CONTENT_LENGTH, outgoing.length.into());
        headers.insert(header::ACCEPT, FHIR_JSON);
        headers.extend(self.source_id.clone().map(|id| (SOURCE_ID, id)));
        // Otherwise a proxy may compress what must be read here.
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let silence = self.settings.request_timeout;
        let progress = outgoing.progress.clone();
        let _end = progress.end_on_drop();
        let sending = effect::send(self.http.post(request.url.clone()).headers(headers).body(outgoing.body));
        let response = tokio::select! {
            response = sending => response.map_err(Some),
            () = progress.silence(silence) => Err(None),
        };
        // From here on no piece follows that could complete the request.
        let state = progress.seal();
        let response = match (response, state) {
            (_, State::Changed) => return Err(Failure::Changed),
            (_, State::Unreadable) => {
                return Err(Failure::later("the file could not be read while it was being sent"));
            }
            (Ok(response), State::Whole | State::Partial | State::Sealed) => response,
            (Err(error), State::Whole | State::Partial | State::Sealed) => {
                return Err(self.unanswered(request.call, error.as_ref(), state == State::Whole));
            }
        };
        Ok(Reply { early: state != State::Whole, ..Reply::read(response, silence).await })
    }

    /// What to do when no answer came. The library's error prints the URL, and is therefore not quoted.
    fn unanswered(&self, call: Call, error: Option<&reqwest::Error>, is_whole: bool) -> Failure {
        let why = match error {
            Some(error) if error.is_connect() && !is_whole => return self.route.unreachable(error),
            Some(error) if !error.is_timeout() => "the connection to Redox broke before it answered",
            Some(_) | None => "Redox did not answer in time",
        };
        match call {
            Call::Create { .. } if is_whole => Failure::unknown(why),
            Call::Create { .. } | Call::Upload { .. } | Call::Search | Call::Token => Failure::later(why),
        }
    }
}

/// For a request that harms nobody.
fn always() -> Ready<bool> {
    ready(true)
}

fn unreadable(error: &std::io::Error) -> Failure {
    Failure::later(format!("the file could not be opened once more ({})", error.kind()))
}

/// What a search's answer says: `None` when it is neither a well-formed yes nor a well-formed no.
fn found(body: &[u8], name: &str) -> Option<bool> {
    let Written::Json(bundle) = tree::read(body) else { return None };
    let is = |key: &str, word: &str| bundle.only(key).and_then(Node::text) == Some(word);
    if !is("resourceType", "Bundle") || !is("type", "searchset") {
        return None;
    }
    let entries: Vec<&Node> = bundle.all("entry").flat_map(Node::items).collect();
    // Servers that ignore a parameter they do not know answer with other documents.
    let is_named = |identifier: &Node| identifier.only("value").and_then(Node::text) == Some(name);
    let is_ours = |entry: &&Node| {
        entry.only("resource").is_some_and(|document| {
            document.only("resourceType").and_then(Node::text) == Some("DocumentReference")
                && ["identifier", "masterIdentifier"]
                    .iter()
                    .flat_map(|key| document.all(key))
                    .flat_map(Node::items)
                    .any(is_named)
        })
    };
    if entries.iter().any(is_ours) {
        return Some(true);
    }
    let none = match bundle.all("total").collect::<Vec<_>>().as_slice() {
        [] => true,
        [Node::Number(total)] => *total == 0.0,
        _ => false,
    };
    let has_more =
        bundle.all("link").flat_map(Node::items).any(|link| link.all("relation").any(|it| it.text() == Some("next")));
    (none && entries.is_empty() && !has_more).then_some(false)
}

/// The reference URL of an upload: an opaque string, made absolute only when it is not.
pub(super) fn location(sent: &Sent) -> Result<String, Failure> {
    let from_header = sent.reply.header(header::LOCATION).map(str::to_owned);
    let from_body = || Some(sent.reply.json()?["URI"].as_str()?.to_owned());
    let found = from_header.or_else(from_body).filter(|location| !location.trim().is_empty());
    let Some(found) = found else {
        let status = sent.reply.status.as_u16();
        return Err(Failure::later(format!("Redox took the file but did not say where it is ({status})")));
    };
    let is_relative = Url::parse(&found).is_err();
    let absolute = if is_relative { sent.url.join(&found).map(String::from).unwrap_or(found) } else { found };
    if absolute.len() > LOCATION_LIMIT {
        return Err(Failure::stop(
            0,
            known::LOCATION_TOO_LONG.code,
            format!(
                "Redox's reference to an uploaded file is {} characters long; at most {LOCATION_LIMIT} can be kept.",
                absolute.len()
            ),
            known::LOCATION_TOO_LONG.remedy,
        ));
    }
    Ok(absolute)
}

fn url(base: &Url, segments: &[&str]) -> Url {
    let mut url = base.clone();
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(segments);
    }
    url
}

fn http_client(settings: &Settings, base: &Url, route: &Route) -> Result<reqwest::Client, SetupError> {
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("chartdrop/", env!("CARGO_PKG_VERSION")))
        .https_only(base.scheme() == "https")
        .tls_version_min(tls::Version::TLS_1_2)
        .redirect(redirect::Policy::none())
        // Every repetition is the delivery's decision.
        .retry(retry::never())
        .referer(false)
        // No time-out of the whole request: each call watches that it moves.
        .connect_timeout(CONNECT_TIME_LIMIT.min(settings.request_timeout))
        .pool_idle_timeout(IDLE)
        .tcp_keepalive(KEEP_ALIVE)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .http2_keep_alive_timeout(KEEP_ALIVE);
    builder = route.set(builder)?;
    if let Some(path) = &settings.ca_file {
        let refuse = |why: String| SetupError::CaFile { path: path.clone(), why };
        let pem = effect::read(path).map_err(|error| refuse(error.to_string()))?;
        let certificates = Certificate::from_pem_bundle(&pem).map_err(|_| refuse("it is damaged".into()))?;
        if certificates.is_empty() {
            return Err(refuse("it holds no certificate (-----BEGIN CERTIFICATE-----)".into()));
        }
        builder = builder.tls_certs_merge(certificates);
    }
    builder.build().map_err(|error| SetupError::Http(error.without_url().to_string()))
}

#[cfg(test)]
pub(super) mod tests;
