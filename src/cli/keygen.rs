//! `chartdrop keygen`: a key pair for Redox, the private half into a file, the public half for the dashboard.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, anyhow};
use aws_lc_rs::{
    encoding::AsDer,
    rsa,
    signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use jsonwebtoken::{
    EncodingKey,
    jwk::{Jwk, PublicKeyUse, ThumbprintHash},
};
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

/// Makes the key pair with which this machine proves to Redox who it is.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where to write the private key; an existing file is never replaced
    #[arg(long, value_name = "FILE", default_value = "redox-key.pem")]
    pub out: PathBuf,
    /// RS384 (RSA, 3072 bits) or ES384 (elliptic curve P-384)
    #[arg(long, value_enum, default_value_t = Algorithm::Rs384)]
    pub algorithm: Algorithm,
    /// The key's id; without it, its RFC 7638 thumbprint
    #[arg(long, value_name = "ID")]
    pub key_id: Option<String>,
}

/// The signature algorithms that Redox takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "UPPER")]
#[allow(missing_docs)]
pub enum Algorithm {
    Rs384,
    Es384,
}

impl From<Algorithm> for jsonwebtoken::Algorithm {
    fn from(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Rs384 => Self::RS384,
            Algorithm::Es384 => Self::ES384,
        }
    }
}

/// A fresh key pair.
#[derive(Debug)]
pub struct KeyPair {
    /// The private key, PKCS#8.
    pub pem: SecretString,
    /// The public key; its `kid` is its thumbprint.
    pub jwk: serde_json::Value,
}

/// Writes the private key to `args.out` and prints the public one.
pub fn run(args: Args) -> anyhow::Result<()> {
    let pair = generate_named(args.algorithm, args.key_id)?;
    save(&args.out, &pair.pem)?;
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{}", serde_json::to_string_pretty(&pair.jwk)?).context("the public key could not be printed")?;
    let path = fs::canonicalize(&args.out).unwrap_or(args.out);
    write!(io::stderr().lock(), "{}", guidance(&path, &pair.jwk))?;
    Ok(())
}

/// Makes a key pair; nothing is written anywhere.
pub fn generate(algorithm: Algorithm) -> anyhow::Result<KeyPair> {
    generate_named(algorithm, None)
}

fn generate_named(algorithm: Algorithm, key_id: Option<String>) -> anyhow::Result<KeyPair> {
    let failed = |_| anyhow!("the key could not be generated");
    let pem = match algorithm {
        Algorithm::Rs384 => {
            let key = rsa::KeyPair::generate(rsa::KeySize::Rsa3072).map_err(failed)?;
            pem(key.as_der().map_err(failed)?.as_ref())?
        }
        Algorithm::Es384 => {
            let key = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).map_err(failed)?;
            pem(key.to_pkcs8v1().map_err(failed)?.as_ref())?
        }
    };
    let key = match algorithm {
        Algorithm::Rs384 => EncodingKey::from_rsa_pem(pem.expose_secret().as_bytes())?,
        Algorithm::Es384 => EncodingKey::from_ec_pem(pem.expose_secret().as_bytes())?,
    };
    let mut jwk = Jwk::from_encoding_key(&key, algorithm.into())?;
    jwk.common.public_key_use = Some(PublicKeyUse::Signature);
    jwk.common.key_id = Some(match key_id {
        Some(given) => given,
        None => jwk.thumbprint(ThumbprintHash::SHA256)?,
    });
    Ok(KeyPair { pem, jwk: serde_json::to_value(jwk)? })
}

fn pem(pkcs8: &[u8]) -> anyhow::Result<SecretString> {
    let base64 = Zeroizing::new(STANDARD.encode(pkcs8));
    // Room for all of it at once: growing would leave copies behind.
    let mut pem = Zeroizing::new(String::with_capacity(base64.len() + base64.len() / 64 + 64));
    pem.push_str("-----BEGIN PRIVATE KEY-----\n");
    for line in base64.as_bytes().chunks(64) {
        pem.push_str(str::from_utf8(line)?);
        pem.push('\n');
    }
    pem.push_str("-----END PRIVATE KEY-----\n");
    Ok(SecretString::from(pem.as_str()))
}

/// Writes a file that only its owner can read, durably, and never over another.
fn save(path: &Path, pem: &SecretString) -> anyhow::Result<()> {
    let shown = path.display();
    let mut file = match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(anyhow!("{shown} exists already and was left as it is: choose another name with --out"));
        }
        opened => opened.with_context(|| format!("{shown} could not be created"))?,
    };
    let written = file.write_all(pem.expose_secret().as_bytes()).and_then(|()| file.sync_all());
    if let Err(error) = written {
        // Half a key helps nobody, and would stand in the way of the next try.
        let _ = fs::remove_file(path);
        return Err(error).with_context(|| format!("{shown} could not be written"));
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .with_context(|| format!("{shown} could not be made durable"))
}

fn guidance(path: &Path, jwk: &serde_json::Value) -> String {
    let word = |name: &str| jwk[name].as_str().unwrap_or_default().to_owned();
    let path = path.display().to_string();
    let (kid, alg, path) = (toml::Value::from(word("kid")), toml::Value::from(word("alg")), toml::Value::from(path));
    format!(
        "The private key is in {path}. Only your own user can read it: give it to the user that the service runs as, and to\n\
         nobody else.\n\n\
         1. In the Redox dashboard, open your OAuth API key of the right environment and paste the public key\n\
         \x20  above, all of it with both braces, as its JWK. A key belongs to one environment.\n\
         2. In the configuration, under [redox]:\n\n\
         \x20  key_id = {kid}\n\
         \x20  algorithm = {alg}\n\
         \x20  private_key = {path}\n\n\
         3. Run `chartdrop check`.\n"
    )
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use jsonwebtoken::{DecodingKey, Header, Validation, decode, encode};

    use super::*;

    fn signs_and_verifies(algorithm: Algorithm, pem: &[u8], jwk: &serde_json::Value) {
        let key = match algorithm {
            Algorithm::Rs384 => EncodingKey::from_rsa_pem(pem),
            Algorithm::Es384 => EncodingKey::from_ec_pem(pem),
        };
        let token =
            encode(&Header::new(algorithm.into()), &serde_json::json!({"sub": "clinic"}), &key.unwrap()).unwrap();
        let jwk: Jwk = serde_json::from_value(jwk.clone()).unwrap();
        let mut validation = Validation::new(algorithm.into());
        validation.required_spec_claims.clear();
        let verify =
            |token: &str| decode::<serde_json::Value>(token, &DecodingKey::from_jwk(&jwk).unwrap(), &validation);
        assert_eq!(verify(&token).unwrap().claims["sub"], "clinic");
        let (head, signature) = token.rsplit_once('.').unwrap();
        let (head, _) = head.rsplit_once('.').unwrap();
        // {"sub":"thief"}
        assert!(verify(&format!("{head}.eyJzdWIiOiJ0aGllZiJ9.{signature}")).is_err());
    }

    #[test]
    fn both_algorithms_sign_what_their_public_half_verifies() {
        for (algorithm, alg, kty) in [(Algorithm::Rs384, "RS384", "RSA"), (Algorithm::Es384, "ES384", "EC")] {
            let pair = generate(algorithm).unwrap();
            signs_and_verifies(algorithm, pair.pem.expose_secret().as_bytes(), &pair.jwk);
            assert_eq!(
                (&pair.jwk["alg"], &pair.jwk["kty"], &pair.jwk["use"]),
                (&alg.into(), &kty.into(), &"sig".into())
            );
            for private in ["d", "p", "q", "dp", "dq", "qi"] {
                assert!(pair.jwk.get(private).is_none(), "{private}");
            }
            let n = pair.jwk["n"].as_str().map_or(512, str::len);
            assert_eq!(n, 512, "3072 bits are 512 characters of base64");
            let public: Jwk = serde_json::from_value(pair.jwk.clone()).unwrap();
            assert_eq!(pair.jwk["kid"], public.thumbprint(ThumbprintHash::SHA256).unwrap());
        }
    }

    #[test]
    fn the_file_is_private_and_the_key_id_is_the_given_one() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("key.pem");
        run(Args { out: out.clone(), algorithm: Algorithm::Es384, key_id: Some("clinic-2026".into()) }).unwrap();
        assert_eq!(fs::metadata(&out).unwrap().permissions().mode() & 0o7777, 0o600);
        let pair = generate_named(Algorithm::Es384, Some("clinic-2026".into())).unwrap();
        assert_eq!(pair.jwk["kid"], "clinic-2026");
        let saved = fs::read(&out).unwrap();
        let key = EncodingKey::from_ec_pem(&saved).unwrap();
        let jwk = Jwk::from_encoding_key(&key, jsonwebtoken::Algorithm::ES384).unwrap();
        signs_and_verifies(Algorithm::Es384, &saved, &serde_json::to_value(jwk).unwrap());
    }

    #[test]
    fn an_existing_file_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("key.pem");
        fs::write(&out, "precious").unwrap();
        let error = run(Args { out: out.clone(), algorithm: Algorithm::Es384, key_id: None }).unwrap_err();
        assert!(error.to_string().contains("exists already"), "{error}");
        assert_eq!(fs::read(&out).unwrap(), b"precious");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn the_guidance_is_valid_configuration_whatever_the_path() {
        let words = guidance(Path::new("/srv/a \"b\"/k.pem"), &generate(Algorithm::Es384).unwrap().jwk);
        let lines: String = words.lines().filter(|line| line.contains(" = ")).map(|line| format!("{line}\n")).collect();
        let table: toml::Table = lines.parse().unwrap();
        assert_eq!(table["private_key"].as_str(), Some("/srv/a \"b\"/k.pem"));
        assert_eq!(table["algorithm"].as_str(), Some("ES384"));
    }
}
