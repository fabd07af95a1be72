//! Whether a PDF opens without a password: the standard security handler's check of the empty user password
//! (ISO 32000-1, 7.6.3 for revisions 2 to 4; ISO 32000-2, 7.6.4 for 5 and 6).

use aws_lc_rs::{
    cipher::{AES_128, EncryptingKey, EncryptionContext, UnboundCipherKey},
    digest,
    iv::FixedLength,
};
use md5::{Digest, Md5};

use super::object::{Dictionary, Object};

/// What shorter passwords are filled up with; the empty one is all of it.
const PADDING: [u8; 32] = [
    0x28, 0xbf, 0x4e, 0x5e, 0x4e, 0x75, 0x8a, 0x41, 0x64, 0x00, 0x4e, 0x56, 0xff, 0xfa, 0x01, 0x08, 0x2e, 0x2e, 0x00,
    0xb6, 0xd0, 0x68, 0x3e, 0x80, 0x2f, 0x0c, 0xa9, 0xfe, 0x64, 0x53, 0x69, 0x7a,
];

/// Revision 6 hashes until a byte says that it is enough, which is after 64 to about 320 rounds.
const MAX_ROUNDS: u32 = 2048;

/// Why a PDF does not open, in words that begin with "it".
pub(super) fn objection(encrypt: &Dictionary, id: &[u8]) -> Option<String> {
    match encrypt.name("Filter") {
        Some(b"Standard") => {}
        Some(b"Adobe.PubSec") => return Some("it opens only with a certificate (public-key encryption)".to_owned()),
        _ => return Some("it is encrypted in a way that only some programs can open".to_owned()),
    }
    let revision = encrypt.number("R");
    let opens = match revision {
        Some(2..=4) => opens_by_rc4(encrypt, id),
        Some(5 | 6) => opens_by_sha2(encrypt, revision == Some(6)),
        _ => return Some("it is encrypted in a way that is not known".to_owned()),
    };
    match opens {
        Some(true) => None,
        Some(false) => Some("it does not open without its password".to_owned()),
        None => Some("it is encrypted, and what it says of its encryption cannot be read".to_owned()),
    }
}

/// Algorithms 2, 4 and 5. `None` when the dictionary lacks something.
fn opens_by_rc4(encrypt: &Dictionary, id: &[u8]) -> Option<bool> {
    let revision = encrypt.number("R")?;
    let (owner, user) = (encrypt.text("O")?.get(..32)?, encrypt.text("U")?);
    let permissions = encrypt.number("P")? as u32;
    let mut hash = Md5::new();
    hash.update(PADDING);
    hash.update(owner);
    hash.update(permissions.to_le_bytes());
    hash.update(id);
    if revision >= 4 && encrypt.get("EncryptMetadata") == Some(&Object::Word(b"false".to_vec())) {
        hash.update([0xff; 4]);
    }
    let seed: [u8; 16] = hash.finalize().into();
    if revision == 2 {
        return Some(rc4(&seed[..5], &PADDING) == user.get(..32)?);
    }
    let expected = user.get(..16)?;
    let check: [u8; 16] = Md5::new().chain_update(PADDING).chain_update(id).finalize().into();
    // Writers disagree on where the length of the key is said, and in which unit; a wrong one cannot match.
    let stated = encrypt.number("Length").unwrap_or(40);
    let lengths = [stated / 8, stated, 16, 5]
        .into_iter()
        .filter_map(|n| usize::try_from(n).ok().filter(|n| (5..=16).contains(n)));
    Some(lengths.into_iter().any(|length| {
        let key = (0..50).fold(seed, |key, _| Md5::digest(&key[..length]).into());
        let mut value = check.to_vec();
        for round in 0..20 {
            let round_key: Vec<u8> = key[..length].iter().map(|byte| byte ^ round).collect();
            value = rc4(&round_key, &value);
        }
        value == expected
    }))
}

/// Algorithm 11: the hash of the empty password and the validation salt.
fn opens_by_sha2(encrypt: &Dictionary, strengthened: bool) -> Option<bool> {
    let user = encrypt.text("U")?;
    let (expected, salt) = (user.get(..32)?, user.get(32..40)?);
    let hash = digest::digest(&digest::SHA256, salt).as_ref().to_vec();
    let hash = if strengthened { strengthen(hash)? } else { hash };
    Some(hash.get(..32)? == expected)
}

/// Algorithm 2.B, for an empty password.
fn strengthen(mut hash: Vec<u8>) -> Option<Vec<u8>> {
    for round in 0..MAX_ROUNDS {
        let mut text = hash.repeat(64);
        let iv: [u8; 16] = hash.get(16..32)?.try_into().ok()?;
        let key = EncryptingKey::cbc(UnboundCipherKey::new(&AES_128, hash.get(..16)?).ok()?).ok()?;
        key.less_safe_encrypt(&mut text, EncryptionContext::Iv128(FixedLength::from(iv))).ok()?;
        // 256 is 1 modulo 3: the sum of the digits will do.
        let algorithm = match text.get(..16)?.iter().map(|byte| u32::from(*byte)).sum::<u32>() % 3 {
            0 => &digest::SHA256,
            1 => &digest::SHA384,
            _ => &digest::SHA512,
        };
        hash = digest::digest(algorithm, &text).as_ref().to_vec();
        if round >= 63 && u32::from(*text.last()?) + 31 <= round {
            return Some(hash);
        }
    }
    None
}

fn rc4(key: &[u8], data: &[u8]) -> Vec<u8> {
    let mut state: [u8; 256] = std::array::from_fn(|index| index as u8);
    let mut j = 0_u8;
    for i in 0..256 {
        j = j.wrapping_add(state[i]).wrapping_add(key[i % key.len()]);
        state.swap(i, usize::from(j));
    }
    let (mut i, mut j) = (0_u8, 0_u8);
    data.iter()
        .map(|byte| {
            i = i.wrapping_add(1);
            j = j.wrapping_add(state[usize::from(i)]);
            state.swap(usize::from(i), usize::from(j));
            byte ^ state[usize::from(state[usize::from(i)].wrapping_add(state[usize::from(j)]))]
        })
        .collect()
}
