//! The token endpoint: verifies the client's assertion as Redox documents it (SMART Backend Services).

use std::{
    collections::{HashMap, HashSet},
    time::Instant,
};

use http::{HeaderMap, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;
use serde_json::json;

use super::{
    State,
    answer::{Body, Cut, read, typed},
    jwks, lock,
    record::fresh_id,
};

/// `iat` may be this many seconds in the past.
const IAT_PAST: i64 = 300;
/// Clocks may differ by this many seconds.
const SKEW: i64 = 10;
/// `exp` may be this many seconds ahead.
const EXP_AHEAD: i64 = 300;
/// A token request is short.
const LIMIT: u64 = 64 * 1024;

/// Tokens that are good, and assertions that were used.
#[derive(Debug, Default)]
pub(super) struct Issued {
    tokens: HashMap<String, Instant>,
    used: HashSet<String>,
}

impl Issued {
    /// Whether a request carries a token that is good.
    pub fn check(&self, headers: &HeaderMap) -> Result<(), &'static str> {
        let value = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = value.and_then(|value| value.strip_prefix("Bearer ")).ok_or("no bearer token")?;
        match self.tokens.get(token) {
            Some(until) if Instant::now() < *until => Ok(()),
            Some(_) => Err("the token has expired"),
            None => Err("the token is not known"),
        }
    }

    /// All tokens are void from now on.
    pub fn forget(&mut self) {
        self.tokens.clear();
    }
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: String,
    iat: i64,
    exp: i64,
    jti: String,
}

/// `POST /v2/auth/token`.
pub(super) async fn token(state: &State, request: Request<Incoming>) -> Result<Response<Body>, Cut> {
    let is_form =
        request.headers().get(header::CONTENT_TYPE).is_some_and(|mime| mime == "application/x-www-form-urlencoded");
    // The token's URL as the client addressed it.
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default().to_owned();
    let audience = format!("http://{host}/v2/auth/token");
    let body = read(request, LIMIT).await?.unwrap_or_default();
    let checked =
        if is_form { verify(state, &form(&body), &audience) } else { Err(("invalid_request", "not a form".into())) };
    Ok(match checked {
        Ok(()) => {
            let token = format!("sandbox-{}-{}", fresh_id(), fresh_id());
            let life = state.options.token_life;
            lock(&state.oauth).tokens.insert(token.clone(), Instant::now() + life);
            state.record.token();
            let answer =
                json!({ "access_token": token, "token_type": "Bearer", "expires_in": life.as_secs(), "scope": "fhir" });
            typed(StatusCode::OK, "application/json", answer.to_string())
        }
        Err((error, why)) => {
            state.record.refused("token", 400, &why);
            let answer = json!({ "error": error, "error_description": why });
            typed(StatusCode::BAD_REQUEST, "application/json", answer.to_string())
        }
    })
}

type Refusal = (&'static str, String);

fn verify(state: &State, form: &HashMap<String, String>, audience: &str) -> Result<(), Refusal> {
    let is = |key: &str, value: &str| form.get(key).is_some_and(|found| found == value);
    if !is("grant_type", "client_credentials") {
        return Err(("unsupported_grant_type", "grant_type must be client_credentials".into()));
    }
    if !is("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer") {
        return Err(("invalid_request", "client_assertion_type is missing or wrong".into()));
    }
    let assertion =
        form.get("client_assertion").ok_or_else(|| ("invalid_request", "client_assertion is missing".to_owned()))?;
    let claims = claims(state, assertion)?;
    let now = Timestamp::now().as_second();
    let client = &state.options.client_id;
    let wrong = |why: &str| Err(("invalid_client", why.to_owned()));
    if &claims.iss != client || &claims.sub != client {
        return wrong("iss and sub must both be the client id");
    }
    if claims.aud != audience {
        return wrong("aud must be the URL of this endpoint");
    }
    if claims.iat > now + SKEW || claims.iat < now - IAT_PAST - SKEW {
        return wrong("iat must be in the past 5 minutes");
    }
    if claims.exp <= now - SKEW || claims.exp > now + EXP_AHEAD + SKEW {
        return wrong("exp must be in the next 5 minutes");
    }
    if claims.jti.is_empty() || !lock(&state.oauth).used.insert(claims.jti) {
        return wrong("jti must be new for every assertion");
    }
    Ok(())
}

fn claims(state: &State, assertion: &str) -> Result<Claims, Refusal> {
    let wrong = |why: &str| ("invalid_client", why.to_owned());
    let no_key = || wrong("Public key not found, check client_id, kid and environment");
    let head = jsonwebtoken::decode_header(assertion).map_err(|_| wrong("not a JWT"))?;
    let kid = head.kid.ok_or_else(|| wrong("kid is missing from the header"))?;
    if !matches!(head.alg, Algorithm::RS384 | Algorithm::ES384) {
        return Err(wrong("alg must be RS384 or ES384"));
    }
    let path = state.options.jwks.as_ref().ok_or_else(no_key)?;
    let broken = |why| ("invalid_client", format!("the sandbox's --jwks file cannot be used: {why}"));
    let keys = jwks::load(path).map_err(broken)?;
    let key = keys.iter().find(|key| key.common.key_id.as_ref() == Some(&kid)).ok_or_else(no_key)?;
    let key = DecodingKey::from_jwk(key).map_err(|_| no_key())?;
    let mut rules = Validation::new(head.alg);
    // Checked above, each with words of its own.
    (rules.validate_exp, rules.validate_aud) = (false, false);
    rules.required_spec_claims.clear();
    let decoded = jsonwebtoken::decode::<Claims>(assertion, &key, &rules);
    Ok(decoded.map_err(|_| wrong("the signature or the claims of the assertion are wrong"))?.claims)
}

/// `application/x-www-form-urlencoded`.
pub(super) fn form(body: &[u8]) -> HashMap<String, String> {
    String::from_utf8_lossy(body)
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(key, value)| (decoded(key), decoded(value)))
        .collect()
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        match (first, tail) {
            (b'+', _) => bytes.push(b' '),
            (b'%', [a, b, ..]) => {
                let hex = std::str::from_utf8(&[*a, *b]).ok().and_then(|hex| u8::from_str_radix(hex, 16).ok());
                bytes.push(hex.unwrap_or(b'%'));
                rest = &tail[if hex.is_some() { 2 } else { 0 }..];
            }
            _ => bytes.push(*first),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
