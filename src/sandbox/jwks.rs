//! The client's public keys, and what is wrong with a file that holds none.

use std::path::Path;

use jsonwebtoken::{DecodingKey, jwk::Jwk};
use serde_json::Value;

/// Reads a JWK or a JWKS. The error completes the sentence "the key file cannot be used: …".
pub(super) fn load(path: &Path) -> Result<Vec<Jwk>, String> {
    let bytes = std::fs::read(path).map_err(|error| format!("{error}"))?;
    parse(&bytes)
}

fn parse(bytes: &[u8]) -> Result<Vec<Jwk>, String> {
    let text = str::from_utf8(bytes).map_err(|_| "it is not text")?.trim_start_matches('\u{feff}').trim();
    if text.is_empty() {
        return Err("it is empty; fill it with what chartdrop keygen prints".into());
    }
    if text.contains("PRIVATE KEY-----") {
        return Err(
            "it is the private key; the sandbox wants the public one, which chartdrop keygen prints as JSON".into()
        );
    }
    if text.starts_with("-----BEGIN") || text.starts_with("ssh-") {
        return Err("it is not JSON; the public key is wanted as the JWK that chartdrop keygen prints".into());
    }
    let value: Value = serde_json::from_str(text).map_err(|error| format!("it is not JSON ({error})"))?;
    let keys = match value.get("keys") {
        Some(keys) => keys.as_array().cloned().ok_or("its \"keys\" is not a list")?,
        None if value.get("kty").is_some() => vec![value],
        None => return Err("it is JSON, but neither a JWK (with \"kty\") nor a JWKS (with \"keys\")".into()),
    };
    if keys.is_empty() {
        return Err("its list of keys is empty".into());
    }
    keys.into_iter().map(key).collect()
}

fn key(value: Value) -> Result<Jwk, String> {
    if value.get("d").is_some() {
        return Err("it holds a private key (\"d\"); only the public half may leave the client".into());
    }
    if value.get("kid").and_then(Value::as_str).is_none_or(str::is_empty) {
        return Err("a key in it has no \"kid\", by which an assertion names it".into());
    }
    let key: Jwk = serde_json::from_value(value).map_err(|error| format!("a key in it is not a JWK ({error})"))?;
    DecodingKey::from_jwk(&key).map_err(|error| format!("a key in it cannot be used ({error})"))?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_file_says_what_is_wrong_with_it() {
        for (text, words) in [
            ("", "empty"),
            ("\u{feff} \n", "empty"),
            ("-----BEGIN PRIVATE KEY-----\nx", "private key"),
            ("-----BEGIN PUBLIC KEY-----\nx", "not JSON"),
            ("{\"kty\":", "not JSON"),
            ("[]", "neither a JWK"),
            ("{}", "neither a JWK"),
            ("{\"keys\":{}}", "not a list"),
            ("{\"keys\":[]}", "empty"),
            (r#"{"kty":"EC","crv":"P-384","x":"","y":""}"#, "no \"kid\""),
            (r#"{"kty":"EC","crv":"P-384","x":"","y":"","kid":"k","d":"x"}"#, "private key"),
            (r#"{"kty":"XY","kid":"k"}"#, "cannot be used"),
        ] {
            let why = parse(text.as_bytes()).unwrap_err();
            assert!(why.contains(words), "{text}: {why}");
        }
        assert_eq!(parse(b"\xff\xfe").unwrap_err(), "it is not text");
    }
}
