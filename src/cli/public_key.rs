//! `chartdrop public-key`: the public half of the configured key, for the Redox dashboard.

use std::path::{Path, PathBuf};

use anyhow::Context;
use jsonwebtoken::{
    EncodingKey,
    jwk::{Jwk, PublicKeyUse},
};
use zeroize::Zeroizing;

use super::{DONE, output};
use crate::{
    config::Config,
    redox::{Algorithm, Client},
};

/// What `public-key` is told.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A set of keys (JWKS) with this one in it, in place of the key alone (JWK).
    #[arg(long)]
    jwks: bool,
}

/// Prints the public key.
pub fn run(config: &Path, args: Args) -> anyhow::Result<u8> {
    let config = Config::load(config)?;
    // Says in words what is wrong with a key that cannot be used.
    Client::new(config.redox.clone())?;
    let pem = Zeroizing::new(std::fs::read(file(&config.redox.private_key)).context("The private key cannot be read")?);
    let unusable = "The key can be used, and its public half cannot be made from this form. Turn it into PKCS#8: openssl pkcs8 -topk8 -nocrypt";
    let (key, algorithm) = match config.redox.algorithm {
        Algorithm::RS384 => (EncodingKey::from_rsa_pem(&pem).context(unusable)?, jsonwebtoken::Algorithm::RS384),
        Algorithm::ES384 => (EncodingKey::from_ec_pem(&pem).context(unusable)?, jsonwebtoken::Algorithm::ES384),
    };
    let mut jwk = Jwk::from_encoding_key(&key, algorithm)?;
    jwk.common.public_key_use = Some(PublicKeyUse::Signature);
    jwk.common.key_id = Some(config.redox.key_id.clone());
    match args.jwks {
        true => output::json(&serde_json::json!({ "keys": [jwk] }))?,
        false => output::json(&jwk)?,
    }
    Ok(DONE)
}

/// A bare name is a systemd credential, where there is one of that name.
fn file(path: &Path) -> PathBuf {
    let credential = std::env::var_os("CREDENTIALS_DIRECTORY").map(|folder| Path::new(&folder).join(path));
    let is_bare = path.components().count() == 1;
    credential.filter(|credential| is_bare && credential.exists()).unwrap_or_else(|| path.to_owned())
}
