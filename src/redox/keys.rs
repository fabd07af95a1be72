//! The private key: read only when nobody else can read it, and said plainly when it is not the right one.

use std::{
    ffi::OsStr,
    fs::{File, OpenOptions},
    io::{self, Read},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use aws_lc_rs::{
    error::Unspecified,
    rand::SystemRandom,
    signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, RSA_PKCS1_SHA384, RsaKeyPair},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use zeroize::Zeroizing;

use super::{Algorithm, SetupError, errors::KeyFault};

/// No key is longer; what lies beyond is not read.
const LONGEST_FILE: u64 = 64 * 1024;

/// A key that can sign assertions.
pub(super) enum SigningKey {
    /// For RS384.
    Rsa(RsaKeyPair),
    /// For ES384.
    Ec(EcdsaKeyPair),
}

impl SigningKey {
    /// Loads a PEM file, or a systemd credential when `path` is a bare name.
    pub(super) fn load(path: &Path, algorithm: Algorithm) -> Result<Self, SetupError> {
        Self::load_with(path, algorithm, std::env::var_os("CREDENTIALS_DIRECTORY").as_deref())
    }

    fn load_with(path: &Path, algorithm: Algorithm, credentials: Option<&OsStr>) -> Result<Self, SetupError> {
        let (path, forbidden) = locate(path, credentials);
        let pem = match read(&path, forbidden) {
            Ok(Ok(pem)) => pem,
            Ok(Err(mode)) => return Err(SetupError::KeyExposed { path, mode }),
            Err(error) => return Err(SetupError::KeyUnreadable { path, error }),
        };
        parse(&pem, algorithm).map_err(|fault| SetupError::Key { path, fault })
    }

    /// The JWS signature of `message`.
    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Unspecified> {
        let random = SystemRandom::new();
        match self {
            Self::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PKCS1_SHA384, &random, message, &mut signature)?;
                Ok(signature)
            }
            Self::Ec(key) => Ok(key.sign(&random, message)?.as_ref().to_vec()),
        }
    }
}

/// Reads a secret from a file, or from a systemd credential when `path` is a bare name; an error when others can read it.
pub(crate) fn read_secret(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    let (path, forbidden) = locate(path, std::env::var_os("CREDENTIALS_DIRECTORY").as_deref());
    read(&path, forbidden)?.map_err(|mode| io::Error::other(format!("others may read it (mode {mode:04o}); chmod 600")))
}

/// The file and the mode bits it must not have. systemd guards the credentials' folder itself and gives the service
/// its access through the group, so that group bits are no exposure there.
fn locate(path: &Path, credentials: Option<&OsStr>) -> (PathBuf, u32) {
    let bare = path.components().count() == 1 && !path.is_absolute();
    if let (true, Some(folder)) = (bare, credentials) {
        let credential = Path::new(folder).join(path);
        if credential.exists() {
            return (credential, 0o007);
        }
    }
    (path.to_path_buf(), 0o077)
}

/// The file's bytes, or its mode when others can read it too.
fn read(path: &Path, forbidden: u32) -> io::Result<Result<Zeroizing<Vec<u8>>, u32>> {
    // A FIFO by that name would hang the open.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mode = metadata.mode() & 0o7777;
    if mode & forbidden != 0 {
        return Ok(Err(mode));
    }
    read_all(file).map(Ok)
}

/// Into a buffer that never moves, so that no copy of the key is left behind.
fn read_all(file: File) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(LONGEST_FILE as usize));
    file.take(LONGEST_FILE).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn parse(file: &[u8], algorithm: Algorithm) -> Result<SigningKey, KeyFault> {
    let (label, der) = find_key(file)?;
    let rsa = |key: Result<RsaKeyPair, aws_lc_rs::error::KeyRejected>| match key {
        Ok(key) => Ok(SigningKey::Rsa(key)),
        Err(rejected) if rejected.to_string() == "TooSmall" => Err(KeyFault::TooShort),
        Err(_) => Err(KeyFault::Damaged),
    };
    let is_rsa = match label {
        "RSA PRIVATE KEY" => true,
        "EC PRIVATE KEY" => false,
        _ => contains(&der, RSA_OID),
    };
    match (algorithm, is_rsa) {
        (Algorithm::RS384, true) if label == "PRIVATE KEY" => rsa(RsaKeyPair::from_pkcs8(&der)),
        (Algorithm::RS384, true) => rsa(RsaKeyPair::from_der(&der)),
        (Algorithm::ES384, false) if !contains(&der, P384_OID) => Err(KeyFault::WrongKind(algorithm)),
        (Algorithm::ES384, false) => EcdsaKeyPair::from_private_key_der(&ECDSA_P384_SHA384_FIXED_SIGNING, &der)
            .map(SigningKey::Ec)
            .map_err(|_| KeyFault::Damaged),
        (Algorithm::RS384, false) | (Algorithm::ES384, true) => Err(KeyFault::WrongKind(algorithm)),
    }
}

/// DER of the object identifier 1.2.840.113549.1.1.1, rsaEncryption.
const RSA_OID: &[u8] = &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
/// DER of the object identifier 1.3.132.0.34, secp384r1.
const P384_OID: &[u8] = &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22];

/// Looks where a key names its kind: at its very beginning, or (SEC1) after the private number.
fn contains(der: &[u8], oid: &[u8]) -> bool {
    der[..der.len().min(96)].windows(oid.len()).any(|window| window == oid)
}

/// The first private key among the file's PEM blocks; without one, what the first block is instead.
fn find_key(file: &[u8]) -> Result<(&str, Zeroizing<Vec<u8>>), KeyFault> {
    let text = std::str::from_utf8(file).map_err(|_| KeyFault::NotAKeyFile)?;
    let mut fault = KeyFault::NotAKeyFile;
    for block in text.split("-----BEGIN ").skip(1) {
        let (label, rest) = block.split_once("-----").ok_or(KeyFault::Damaged)?;
        let seen = match label {
            "PRIVATE KEY" | "RSA PRIVATE KEY" | "EC PRIVATE KEY" if rest.contains("ENCRYPTED") => KeyFault::Encrypted,
            "PRIVATE KEY" | "RSA PRIVATE KEY" | "EC PRIVATE KEY" => return Ok((label, decode(label, rest)?)),
            "ENCRYPTED PRIVATE KEY" => KeyFault::Encrypted,
            "PUBLIC KEY" | "RSA PUBLIC KEY" => KeyFault::Public,
            "OPENSSH PRIVATE KEY" => KeyFault::OpenSsh,
            "CERTIFICATE" => KeyFault::Certificate,
            _ => continue,
        };
        if fault == KeyFault::NotAKeyFile {
            fault = seen;
        }
    }
    Err(fault)
}

fn decode(label: &str, rest: &str) -> Result<Zeroizing<Vec<u8>>, KeyFault> {
    let (body, _) = rest.split_once(&format!("-----END {label}-----")).ok_or(KeyFault::Damaged)?;
    let mut compact = Zeroizing::new(Vec::with_capacity(body.len()));
    compact.extend(body.bytes().filter(|byte| !byte.is_ascii_whitespace()));
    let mut der = Zeroizing::new(vec![0; compact.len()]);
    let length = STANDARD.decode_slice(&*compact, &mut der).map_err(|_| KeyFault::Damaged)?;
    der.truncate(length);
    Ok(der)
}

#[cfg(test)]
pub(super) mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use aws_lc_rs::{
        encoding::AsDer,
        rsa::KeySize,
        signature::{ECDSA_P256_SHA256_FIXED_SIGNING, KeyPair},
    };

    use super::*;

    /// 1024 bits, made for this test: too short to be of use to anybody.
    const SHORT: &str = "-----BEGIN PRIVATE KEY-----\n\
        MIICdgIBADANBgkqhkiG9w0BAQEFAASCAmAwggJcAgEAAoGBAMji1EUgk7qqRjWO\n\
        R1v+lBVSrs14JiFH2G2tUdZrhc6OTBi0c4zrtTHARnJbXy5RQP05zxy5v+EIUVMD\n\
        9YuSu7n/4OfcQ1Yl8IXOXPohNqWJ/j7A7pzzTv4g4HwOJEOWSBS9Msj5jWYgVDmk\n\
        9XmEg9C0mgrbSEbAWzapUo4ZteWBAgMBAAECgYEAizkJPE9zku7ncb6FnjA1mQGQ\n\
        vD4EzxPn3zs7eItUVO8xtf16B7RkA3LqX98LfCI8FEO4UoQ5g1AsbIhV6MFs8CUM\n\
        LqO9J1QlOkdzuOWD607ftgOsANDvG7XQrT1tPBSInrgkId17b5BusffyQ/huqNSc\n\
        16cSKBRSydAZ3+UWEAECQQDnaYPi80UB+K2Ng++g2f0GFn6xZbMDrNDSbOiCIas4\n\
        wBbjcU4EAQUALhLR0yuXkVxCqlMUyn10h4iz68LHbJShAkEA3jr+bliBDBb3RYai\n\
        95k7fmjoA56fPR8eVM6YrOO47uAxP80xRcd23B4cr+UG9fkNsD3hXyJe3oMLzDad\n\
        g/zE4QJARQY4DI27W6ctPTTJWRUsX5B+IbPP/ZyifOF3SLl6NOc27IhzWMZlE3Sq\n\
        sGNocUEuX8QmG+F6IjP7Fo+P/aPpgQJAMuCWt3STtszbN5OnY8A1Gq+xzoJWOowR\n\
        SaEy2wIXqLizDcRQb4VG9QX/01U/zriCJcNFAZ7A0Xh3Dv3B+iG4gQJACZa3HYnc\n\
        mWIjTCtpud/p3ZLmvB2/ORfMdDHzx+ZYObmbHtBMOpwvxZvtWa5PuRdPkHErOnSi\n\
        R9N+Ohz4ZE+Tnw==\n\
        -----END PRIVATE KEY-----";

    pub fn pem(label: &str, der: &[u8]) -> String {
        let body = STANDARD.encode(der);
        let lines: Vec<&str> = body.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
        format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
    }

    /// A P-384 key: its PKCS#8 PEM and its public point.
    pub fn ec_key() -> (String, Vec<u8>) {
        let key = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap();
        (pem("PRIVATE KEY", key.to_pkcs8v1().unwrap().as_ref()), key.public_key().as_ref().to_vec())
    }

    pub fn write(folder: &Path, name: &str, pem: &str, mode: u32) -> PathBuf {
        let path = folder.join(name);
        fs::write(&path, pem).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    fn fault(pem: &str, algorithm: Algorithm) -> KeyFault {
        parse(pem.as_bytes(), algorithm).err().expect("a key that must be refused")
    }

    fn rsa_pkcs8() -> Vec<u8> {
        let key = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        AsDer::<aws_lc_rs::encoding::Pkcs8V1Der<'_>>::as_der(&key).unwrap().as_ref().to_vec()
    }

    #[test]
    fn rsa_keys_of_both_forms_sign_what_others_can_verify() {
        let pkcs8 = rsa_pkcs8();
        // PKCS#8 wraps PKCS#1 in a header that is 26 bytes long for a key of this size.
        for pem in [pem("PRIVATE KEY", &pkcs8), pem("RSA PRIVATE KEY", &pkcs8[26..])] {
            let key = parse(pem.as_bytes(), Algorithm::RS384).unwrap();
            let SigningKey::Rsa(pair) = &key else { panic!("not an RSA key") };
            let public = jsonwebtoken::DecodingKey::from_rsa_der(pair.public_key().as_ref());
            verify(&key, &public, jsonwebtoken::Algorithm::RS384);
            assert_eq!(fault(&pem, Algorithm::ES384), KeyFault::WrongKind(Algorithm::ES384));
        }
    }

    #[test]
    fn ec_keys_of_both_forms_sign_what_others_can_verify() {
        let pair = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap();
        let public = jsonwebtoken::DecodingKey::from_ec_der(pair.public_key().as_ref());
        let sec1 = AsDer::<aws_lc_rs::encoding::EcPrivateKeyRfc5915Der<'_>>::as_der(&pair.private_key()).unwrap();
        for pem in [
            pem("PRIVATE KEY", pair.to_pkcs8v1().unwrap().as_ref()),
            pem("EC PRIVATE KEY", sec1.as_ref()),
            format!("{}{}", pem("EC PARAMETERS", P384_OID), pem("EC PRIVATE KEY", sec1.as_ref())),
        ] {
            verify(&parse(pem.as_bytes(), Algorithm::ES384).unwrap(), &public, jsonwebtoken::Algorithm::ES384);
            assert_eq!(fault(&pem, Algorithm::RS384), KeyFault::WrongKind(Algorithm::RS384));
        }
    }

    fn verify(key: &SigningKey, public: &jsonwebtoken::DecodingKey, algorithm: jsonwebtoken::Algorithm) {
        let signature = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(key.sign(b"message").unwrap());
        assert!(jsonwebtoken::crypto::verify(&signature, b"message", public, algorithm).unwrap());
        assert!(!jsonwebtoken::crypto::verify(&signature, b"massage", public, algorithm).unwrap());
    }

    #[test]
    fn what_is_not_the_right_key_is_named() {
        let (ec, _) = ec_key();
        let p256 = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let p256 = pem("PRIVATE KEY", p256.to_pkcs8v1().unwrap().as_ref());
        assert_eq!(fault(&p256, Algorithm::ES384), KeyFault::WrongKind(Algorithm::ES384));
        assert_eq!(fault(SHORT, Algorithm::RS384), KeyFault::TooShort);
        let old_encrypted =
            "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n-----END RSA PRIVATE KEY-----";
        for (pem, expected) in [
            (pem("PUBLIC KEY", b"x"), KeyFault::Public),
            (pem("RSA PUBLIC KEY", b"x"), KeyFault::Public),
            (pem("CERTIFICATE", b"x"), KeyFault::Certificate),
            (pem("ENCRYPTED PRIVATE KEY", b"x"), KeyFault::Encrypted),
            (old_encrypted.to_owned(), KeyFault::Encrypted),
            (pem("OPENSSH PRIVATE KEY", b"x"), KeyFault::OpenSsh),
            (pem("EC PARAMETERS", b"x"), KeyFault::NotAKeyFile),
            (String::new(), KeyFault::NotAKeyFile),
            ("\u{feff}{\"kty\":\"EC\"}".to_owned(), KeyFault::NotAKeyFile),
            (ec.replace("-----END", "-----"), KeyFault::Damaged),
            (ec.replace('M', "*"), KeyFault::Damaged),
            (pem("PRIVATE KEY", P384_OID), KeyFault::Damaged),
        ] {
            assert_eq!(fault(&pem, Algorithm::ES384), expected, "{pem}");
        }
        assert_eq!(fault(&pem("PRIVATE KEY", RSA_OID), Algorithm::RS384), KeyFault::Damaged);
        let with_chain = format!("{}{ec}", pem("CERTIFICATE", b"x"));
        assert!(parse(with_chain.as_bytes(), Algorithm::ES384).is_ok());
    }

    #[test]
    fn a_key_that_others_can_read_is_refused_with_the_mend() {
        let folder = tempfile::tempdir().unwrap();
        let (ec, _) = ec_key();
        for (mode, allowed) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false), (0o620, false)] {
            let path = write(folder.path(), "key.pem", &ec, mode);
            let result = SigningKey::load_with(&path, Algorithm::ES384, None);
            assert_eq!(result.is_ok(), allowed, "{mode:o}");
            if let Err(error) = result {
                let words = error.to_string();
                assert!(words.contains(&format!("chmod 600 {}", path.display())), "{words}");
            }
            fs::remove_file(path).unwrap();
        }
    }

    #[test]
    fn a_bare_name_is_a_credential_first() {
        let folder = tempfile::tempdir().unwrap();
        let (ec, _) = ec_key();
        let credentials = Some(folder.path().as_os_str());
        let load = |path: &Path| SigningKey::load_with(path, Algorithm::ES384, credentials);
        let path = write(folder.path(), "redox-key", &ec, 0o440);
        assert!(load(Path::new("redox-key")).is_ok());
        assert!(matches!(load(&path), Err(SetupError::KeyExposed { .. })), "its full path earns no exception");
        assert!(matches!(load(Path::new("another")), Err(SetupError::KeyUnreadable { .. })));
        write(folder.path(), "open", &ec, 0o444);
        assert!(matches!(load(Path::new("open")), Err(SetupError::KeyExposed { .. })));
    }

    #[test]
    fn only_a_regular_file_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("fifo");
        rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RUSR).unwrap();
        for path in [fifo, folder.path().to_path_buf()] {
            let result = SigningKey::load_with(&path, Algorithm::ES384, None);
            assert!(matches!(result, Err(SetupError::KeyUnreadable { .. })), "{}", path.display());
        }
    }
}
