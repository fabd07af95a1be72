//! The access token: one for all workers, renewed by one of them before it runs out.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderValue, header};
use jiff::{Timestamp, fmt::rfc2822};
use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{sync::Mutex, time::Instant};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{
    Algorithm, Failure, Settings,
    answer::{Reply, form},
    classify::{Call, Verdict, classify},
    keys::SigningKey,
    route::Route,
};
use crate::model::problem::catalogue as known;
use crate::platform::effect;

/// A token is renewed when less than this is left of its life.
const MARGIN: Duration = Duration::from_secs(60);
/// The life of a token whose answer does not say it, or says nonsense.
const CAUTIOUS_LIFE: Duration = Duration::from_secs(60);
/// No token is kept for longer than this, whatever its answer promises.
const LONGEST_LIFE: Duration = Duration::from_secs(3600);
/// A promise of more than this is nonsense.
const BELIEVABLE_LIFE: f64 = 366.0 * 86_400.0;
/// A token that lives for moments is used for this long all the same, so that not every call asks for a new one. If it is
/// refused, the call renews it.
const SHORTEST_USE: Duration = Duration::from_secs(5);
/// How long an assertion is valid; Redox allows five minutes at most, measured on its own clock.
const ASSERTION_LIFE: i64 = 240;
/// `iat` must lie in Redox's past, whose clock may be a little behind.
const ISSUED_BACK: i64 = 5;
/// A token is asked for in far less than the time of a long upload.
const TIME_LIMIT: Duration = Duration::from_secs(30);
/// Clocks further apart than this make Redox refuse assertions.
const TOLERATED_SKEW: i64 = 10;

/// A token and how long it is good for.
pub(super) struct Token {
    secret: SecretString,
    expires: Instant,
    renew: Instant,
    /// This computer's clock minus Redox's, in seconds.
    pub(super) skew: Option<i64>,
}

impl Token {
    /// What is left of its life.
    pub(super) fn expires_in(&self) -> Duration {
        self.expires.saturating_duration_since(Instant::now())
    }

    /// The Authorization header; HTTP libraries keep it out of their logs.
    pub(super) fn header(&self) -> Result<HeaderValue, Failure> {
        let text = Zeroizing::new(format!("Bearer {}", self.secret.expose_secret()));
        let mut value = HeaderValue::from_str(&text).map_err(|_| {
            Failure::stop(
                0,
                known::TOKEN_UNUSABLE.code,
                "Redox gave an access token that cannot be sent back in a header.",
                known::TOKEN_UNUSABLE.remedy,
            )
        })?;
        value.set_sensitive(true);
        Ok(value)
    }
}

/// The one token, and the failure of the last try to get it.
#[derive(Default)]
struct Cache {
    token: Option<Arc<Token>>,
    failed: Option<(Instant, Failure)>,
}

/// Gets tokens and keeps the newest.
pub(super) struct Tokens {
    http: reqwest::Client,
    url: Url,
    key: SigningKey,
    algorithm: Algorithm,
    client_id: String,
    key_id: String,
    scope: Option<String>,
    time_limit: Duration,
    route: Route,
    // Held over the request: whoever else needs a token waits here for its answer.
    cache: Mutex<Cache>,
    /// How many tokens were got.
    renewals: AtomicU64,
}

/// The fields of the answer that matter.
#[derive(Deserialize)]
struct Granted {
    access_token: String,
    #[serde(default)]
    expires_in: Value,
}

/// How long a token lives: a number of seconds, which some servers write as text.
fn life(expires_in: &Value) -> Duration {
    let seconds = match expires_in {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    };
    match seconds.filter(|seconds| *seconds >= 1.0 && *seconds <= BELIEVABLE_LIFE) {
        Some(seconds) => Duration::from_secs_f64(seconds).min(LONGEST_LIFE),
        None => CAUTIOUS_LIFE,
    }
}

impl Tokens {
    pub(super) fn new(http: reqwest::Client, url: Url, key: SigningKey, settings: &Settings, route: Route) -> Self {
        Self {
            http,
            url,
            key,
            algorithm: settings.algorithm,
            client_id: settings.client_id.clone(),
            key_id: settings.key_id.clone(),
            scope: settings.scope.clone(),
            time_limit: settings.request_timeout.min(TIME_LIMIT),
            route,
            cache: Mutex::default(),
            renewals: AtomicU64::new(0),
        }
    }

    /// The token, renewed if little is left of it.
    pub(super) async fn get(&self) -> Result<Arc<Token>, Failure> {
        let asked = Instant::now();
        let mut cache = self.cache.lock().await;
        if let Some(token) = cache.token.as_ref().filter(|token| Instant::now() < token.renew) {
            return Ok(Arc::clone(token));
        }
        // Whoever waited for a try that failed shares its outcome instead of trying in turn.
        if let Some((_, failure)) = cache.failed.as_ref().filter(|(at, _)| *at > asked) {
            return Err(failure.clone());
        }
        let outcome = self.request().await.map(Arc::new);
        self.renewals.fetch_add(u64::from(outcome.is_ok()), Ordering::Relaxed);
        cache.token = outcome.as_ref().ok().cloned();
        cache.failed = outcome.as_ref().err().map(|failure| (Instant::now(), failure.clone()));
        outcome
    }

    /// How many tokens were got so far.
    pub(super) fn renewals(&self) -> u64 {
        self.renewals.load(Ordering::Relaxed)
    }

    /// Drops a token that was refused, unless somebody has renewed it already.
    pub(super) async fn forget(&self, refused: &Arc<Token>) {
        self.cache.lock().await.token.take_if(|token| Arc::ptr_eq(token, refused));
    }

    async fn request(&self) -> Result<Token, Failure> {
        let started = Instant::now();
        let assertion = self.assertion(Timestamp::now())?;
        let mut fields = vec![
            ("grant_type", "client_credentials"),
            ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
            ("client_assertion", &assertion),
        ];
        fields.extend(self.scope.as_deref().map(|scope| ("scope", scope)));
        let request = self
            .http
            .post(self.url.clone())
            .timeout(self.time_limit)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(header::ACCEPT, "application/json")
            .body(form(&fields));
        let reply = match effect::send(request).await {
            Ok(response) => Reply::read(response, self.time_limit).await,
            Err(error) if error.is_connect() => return Err(self.route.unreachable(&error)),
            Err(error) if error.is_timeout() => return Err(Failure::later("Redox did not answer in time")),
            Err(_) => return Err(Failure::later("the connection to Redox broke")),
        };
        let skew = skew(&reply);
        match classify(Call::Token, &reply) {
            Verdict::Done => {}
            // A refused assertion: there is no other one to try.
            Verdict::Renew(failure) | Verdict::Failed(failure) => return Err(failure.with_note(skew_note(skew))),
        }
        if reply.lost {
            return Err(Failure::later("the connection to Redox broke"));
        }
        let Ok(granted) = serde_json::from_slice::<Granted>(&reply.body) else {
            return Err(Failure::stop(
                0,
                known::TOKEN_MISSING.code,
                "Redox's address for access tokens answered with something else than a token.",
                known::TOKEN_MISSING.remedy,
            ));
        };
        let life = life(&granted.expires_in);
        Ok(Token {
            secret: granted.access_token.into(),
            expires: started + life,
            renew: started + (life - MARGIN.min(life / 2)).max(SHORTEST_USE),
            skew,
        })
    }

    /// The signed statement of who we are.
    fn assertion(&self, now: Timestamp) -> Result<String, Failure> {
        let header = json!({ "alg": self.algorithm.to_string(), "kid": self.key_id, "typ": "JWT" });
        let claims = json!({
            "iss": self.client_id,
            "sub": self.client_id,
            "aud": self.url.as_str(),
            "iat": now.as_second() - ISSUED_BACK,
            "exp": now.as_second() + ASSERTION_LIFE,
            "jti": Uuid::new_v4().to_string(),
        });
        let encode = |part: String| URL_SAFE_NO_PAD.encode(part);
        let signed = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
        let signature = self.key.sign(signed.as_bytes()).map_err(|_| {
            let known::Kind { code, remedy, .. } = known::KEY_UNUSABLE;
            Failure::stop(0, code, "The private key could not sign.", remedy)
        })?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

/// This computer's clock minus the answer's `Date`, in seconds.
fn skew(reply: &Reply) -> Option<i64> {
    let date = reply.headers.get(header::DATE)?.to_str().ok()?;
    let theirs = rfc2822::DateTimeParser::new().parse_timestamp(date).ok()?;
    Some(reply.at.as_second() - theirs.as_second())
}

/// A sentence on clocks that differ too much for assertions to be valid.
pub(super) fn skew_note(skew: Option<i64>) -> Option<String> {
    let skew = skew.filter(|skew| skew.abs() > TOLERATED_SKEW)?;
    let side = if skew > 0 { "ahead of" } else { "behind" };
    let seconds = skew.abs();
    Some(format!(
        "This computer's clock is {seconds} seconds {side} Redox's, which alone can be the cause: set it right."
    ))
}
