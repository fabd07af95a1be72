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
    body::{Encoding, Envelope, Outgoing, Progress, State},
    bundle::{self, Bundle},
    classify::{Call, Verdict, classify},
    keys::SigningKey,
    settings::is_loopback,
    token::{Token, Tokens, skew_note},
};
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
/// A search's answer holds whole resources.
const SEARCH_LIMIT: usize = 1024 * 1024;
const CONNECT_TIME_LIMIT: Duration = Duration::from_secs(10);
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
    tokens: Tokens,
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
        let http = http_client(&settings, &base)?;
        let source_id = match &settings.source_id {
            None => None,
            Some(id) => Some(HeaderValue::from_str(id).map_err(|_| SetupError::Header { setting: "source_id" })?),
        };
        let tokens = Tokens::new(http.clone(), url(&base, &["v2", "auth", "token"]), key, &settings);
        Ok(Self { http, base, settings, source_id, tokens })
    }

    /// How many tokens were got so far.
    pub fn token_renewals(&self) -> u64 {
        self.tokens.renewals()
    }

    /// Gets a token, to see whether one is to be had.
    ///
    /// # Errors
    /// See [`Failure`]; nothing of any document is sent.
    pub async fn token(&self) -> Result<TokenReport, Failure> {
        let token = self.tokens.get().await?;
        Ok(TokenReport { expires_in: token.expires_in(), skew: token.skew })
    }

    /// Uploads a file; gives back the reference URL, unchanged, that a message names it by.
    ///
    /// # Errors
    /// See [`Failure`]. An upload that is not referred to does no harm: whatever is not final may be repeated.
    pub async fn upload(&self, file: &File, content: &Content) -> Result<String, Failure> {
        let (envelope, content_type) = Envelope::of_upload(self.settings.upload_body, &content.mime);
        let content_type = HeaderValue::from_str(&content_type).map_err(|_| Failure::Rejected {
            code: "bad-type".into(),
            summary: "The document's MIME type holds a character that cannot be sent.".into(),
            remedy: "Correct the type in the sidecar or in the configuration, then put the document back.".into(),
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
        location(&sent)
    }

    /// Sends the message; `file` is needed when the Bundle embeds it. Before this is called, the ledger must hold
    /// durably that it will be. `stands` is asked directly before anything leaves, when a token is there already: a no
    /// ends it as [`Failure::Changed`].
    ///
    /// # Errors
    /// See [`Failure`], of which `Unknown` and `Later { sent: true, .. }` mean that it may have arrived.
    pub async fn create<Stands: Future<Output = bool>>(
        &self,
        slug: &str,
        bundle: Bundle,
        file: Option<(&File, &Content)>,
        resend: bool,
        stands: impl Fn() -> Stands,
    ) -> Result<Answer, Failure> {
        let body = bundle.body().map_err(|_| Failure::later("the message could not be written"))?;
        let embedded = matches!(body, bundle::Body::Around { .. });
        let request = Request {
            call: Call::Create { embedded, resend },
            url: self.destination(slug, "$documentreference-create"),
            content_type: FHIR_JSON,
        };
        let sent = self
            .send(&request, stands, || match (&body, file) {
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

    /// Whether the destination has the document of this delivery.
    ///
    /// # Errors
    /// See [`Failure`]; `Rejected` means that this destination does not answer searches.
    pub async fn search(&self, slug: &str, id: DeliveryId) -> Result<bool, Failure> {
        let name = id.0.urn().to_string();
        let query = form(&[("identifier", &format!("urn:ietf:rfc:3986|{name}"))]);
        let request = Request { call: Call::Search, url: self.destination(slug, "_search"), content_type: FORM };
        let sent = self.send(&request, always, || Ok(Outgoing::whole(Bytes::from(query.clone())))).await?;
        let unusable = || Failure::later("the answer to the search for the document cannot be read");
        let body = sent.reply.json().filter(|body| body["resourceType"] == "Bundle").ok_or_else(unusable)?;
        // Servers that ignore a parameter they do not know answer with other documents.
        let is_ours = |entry: &serde_json::Value| {
            let document = &entry["resource"];
            let listed = document["identifier"].as_array().map(Vec::as_slice).unwrap_or_default();
            listed.iter().chain([&document["masterIdentifier"]]).any(|identifier| identifier["value"] == name)
        };
        Ok(body["entry"].as_array().is_some_and(|entries| entries.iter().any(is_ours)))
    }

    fn destination(&self, slug: &str, operation: &str) -> Url {
        let environment = self.settings.environment.to_string();
        url(&self.base, &["fhir", "R4", slug, &environment, "DocumentReference", operation])
    }

    /// Sends a request; once more with a new token when the first was refused.
    async fn send<Stands: Future<Output = bool>>(
        &self,
        request: &Request,
        stands: impl Fn() -> Stands,
        body: impl Fn() -> Result<Outgoing, Failure>,
    ) -> Result<Sent, Failure> {
        let mut renewed = false;
        loop {
            let token = self.tokens.get().await?;
            if !stands().await {
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
        let response = effect::send(self.http.post(request.url.clone()).headers(headers).body(outgoing.body)).await;
        match response {
            Ok(response) if request.call == Call::Search => Ok(Reply::read_up_to(response, SEARCH_LIMIT).await),
            Ok(response) => Ok(Reply::read(response).await),
            Err(error) => Err(unanswered(request.call, &error, &outgoing.progress)),
        }
    }
}

/// For a request that harms nobody.
fn always() -> Ready<bool> {
    ready(true)
}

/// What to do when no answer came. The library's error prints the URL, and is therefore not quoted.
fn unanswered(call: Call, error: &reqwest::Error, progress: &Progress) -> Failure {
    let why = if error.is_connect() {
        "Redox cannot be reached"
    } else if error.is_timeout() {
        "Redox did not answer in time"
    } else {
        "the connection to Redox broke before it answered"
    };
    match (progress.state(), call) {
        (State::Changed, _) => Failure::Changed,
        (State::Unreadable, _) => Failure::later("the file could not be read while it was being sent"),
        (State::Whole, Call::Create { .. }) if !error.is_connect() => Failure::Unknown { why: why.into() },
        (State::Whole | State::Partial, _) => Failure::later(why),
    }
}

fn unreadable(error: &std::io::Error) -> Failure {
    Failure::later(format!("the file could not be opened once more ({})", error.kind()))
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
            "location-too-long",
            format!(
                "Redox's reference to an uploaded file is {} characters long; at most {LOCATION_LIMIT} can be kept.",
                absolute.len()
            ),
            "Report this to chartdrop's developers; until then, embed small files with method = \"embed\".",
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

fn http_client(settings: &Settings, base: &Url) -> Result<reqwest::Client, SetupError> {
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("chartdrop/", env!("CARGO_PKG_VERSION")))
        .https_only(base.scheme() == "https")
        .tls_version_min(tls::Version::TLS_1_2)
        .redirect(redirect::Policy::none())
        // Every repetition is the delivery's decision.
        .retry(retry::never())
        .referer(false)
        .connect_timeout(CONNECT_TIME_LIMIT)
        .timeout(settings.request_timeout)
        .pool_idle_timeout(IDLE)
        .tcp_keepalive(KEEP_ALIVE)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .http2_keep_alive_timeout(KEEP_ALIVE);
    if is_loopback(base) {
        // Clinics that need HTTPS_PROXY to reach Redox do not need it to reach themselves.
        builder = builder.no_proxy();
    }
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
mod tests;
