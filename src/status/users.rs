//! Who may log in to the page: `users.toml`, with argon2id hashes that `chartdrop user add` makes.

use std::{
    fs::{self, File, Permissions},
    io::{self, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::Path,
};

use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version, password_hash::phc::PasswordHash};
use aws_lc_rs::rand;
use serde::{Deserialize, Serialize};

/// The shortest password that is taken.
pub const SHORTEST_PASSWORD: usize = 12;
/// Longer ones would be work for nothing.
pub const LONGEST_PASSWORD: usize = 256;
const LONGEST_NAME: usize = 60;
const FILE_LIMIT: u64 = 1024 * 1024;
/// Whoever is not a user is checked against this one, so that the answer takes as long: the hash of a random word.
const NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$Y2hhcnRkcm9wLW5vYm9keQ$aWDTD4c9EaAcZ1hX0h0fZ0oT7JZ7Vv0Hn7nZ9o6Z3sM";

/// Everybody who may log in.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Users {
    /// One a person.
    #[serde(default, rename = "user")]
    users: Vec<User>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct User {
    name: String,
    /// A PHC string.
    password: String,
}

impl Users {
    /// Reads the file; the error is for a person and holds nothing of what it says.
    pub fn read(path: &Path) -> Result<Self, String> {
        let wrong = |why: &str| format!("{} cannot be used: {why}", path.display());
        let metadata = fs::metadata(path).map_err(|error| wrong(&error.kind().to_string()))?;
        if metadata.len() > FILE_LIMIT {
            return Err(wrong("it is too large"));
        }
        let text = fs::read_to_string(path).map_err(|error| wrong(&error.kind().to_string()))?;
        let users: Self = toml::from_str(&text)
            .map_err(|_| wrong("it is not what `chartdrop user add` writes: [[user]] with name and password"))?;
        if let Some(user) = users.users.iter().find(|user| PasswordHash::new(&user.password).is_err()) {
            return Err(wrong(&format!("the password of {:?} is not a hash", user.name)));
        }
        Ok(users)
    }

    /// Names, as they were added.
    pub fn names(&self) -> Vec<&str> {
        self.users.iter().map(|user| user.name.as_str()).collect()
    }

    /// Adds somebody, or gives a new password. True when the name was there.
    pub fn set(&mut self, name: &str, password: &str) -> Result<bool, String> {
        if name.trim() != name
            || name.is_empty()
            || name.chars().count() > LONGEST_NAME
            || name.chars().any(char::is_control)
        {
            return Err(format!("A name is 1 to {LONGEST_NAME} letters, without spaces around it."));
        }
        if password.chars().count() < SHORTEST_PASSWORD || password.len() > LONGEST_PASSWORD {
            return Err(format!(
                "A password has at least {SHORTEST_PASSWORD} letters and at most {LONGEST_PASSWORD} bytes; a few words in a row are good."
            ));
        }
        let password = hash(password)?;
        match self.users.iter_mut().find(|user| user.name == name) {
            Some(user) => {
                user.password = password;
                Ok(true)
            }
            None => {
                self.users.push(User { name: name.to_owned(), password });
                Ok(false)
            }
        }
    }

    /// False when there is nobody of that name.
    pub fn remove(&mut self, name: &str) -> bool {
        let before = self.users.len();
        self.users.retain(|user| user.name != name);
        self.users.len() < before
    }

    /// The hash that somebody's session was opened with; another one ends it.
    pub fn hash_of(&self, name: &str) -> Option<&str> {
        self.users.iter().find(|user| user.name == name).map(|user| user.password.as_str())
    }

    /// Takes as long for a name that is not there.
    pub fn is_password(&self, name: &str, password: &str) -> bool {
        let known = self.hash_of(name);
        let Ok(hash) = PasswordHash::new(known.unwrap_or(NOBODY)) else { return false };
        let is_right =
            password.len() <= LONGEST_PASSWORD && argon2().verify_password(password.as_bytes(), &hash).is_ok();
        is_right && known.is_some()
    }

    /// Replaces the file as a whole; `group` may read it.
    pub fn write(&self, path: &Path, group: Option<u32>) -> io::Result<()> {
        let text = toml::to_string(self).map_err(io::Error::other)?;
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".new");
        let temporary = path.with_file_name(name);
        fs::remove_file(&temporary).or_else(|error| match error.kind() {
            io::ErrorKind::NotFound => Ok(()),
            _ => Err(error),
        })?;
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(
            b"# Who may log in to chartdrop's page. Written by `chartdrop user add` and `chartdrop user remove`.\n\n",
        )?;
        file.write_all(text.as_bytes())?;
        if let Some(group) = group {
            std::os::unix::fs::fchown(&file, None, Some(group))?;
            file.set_permissions(Permissions::from_mode(0o640))?;
        }
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
    }
}

/// argon2id as OWASP asks for it: 19 MiB, two rounds.
fn argon2() -> Argon2<'static> {
    Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::DEFAULT)
}

fn hash(password: &str) -> Result<String, String> {
    let mut salt = [0; 16];
    rand::fill(&mut salt).map_err(|_| "This machine gives no random numbers.")?;
    let hash = argon2().hash_password_with_salt(password.as_bytes(), &salt).map_err(|error| error.to_string())?;
    Ok(hash.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_password_of_a_known_name_is_taken() {
        let mut users = Users::default();
        assert!(!users.set("G. Adams", "correct horse battery").unwrap());
        assert!(users.is_password("G. Adams", "correct horse battery"));
        for (name, password) in
            [("G. Adams", "correct horse batter"), ("g. adams", "correct horse battery"), ("", ""), ("x", NOBODY)]
        {
            assert!(!users.is_password(name, password), "{name}");
        }
        let before = users.hash_of("G. Adams").unwrap().to_owned();
        assert!(before.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{before}");
        assert!(users.set("G. Adams", "correct horse battery").unwrap());
        assert_ne!(users.hash_of("G. Adams").unwrap(), before, "another salt");
        assert!(users.remove("G. Adams") && !users.remove("G. Adams"));
    }

    #[test]
    fn a_stranger_s_password_is_checked_as_well() {
        assert!(PasswordHash::new(NOBODY).is_ok(), "else strangers would be told apart by time");
    }

    #[test]
    fn what_cannot_be_a_name_or_a_password_is_said() {
        let mut users = Users::default();
        for name in ["", " a", "a\nb", &"x".repeat(61)] {
            assert!(users.set(name, "correct horse battery").is_err(), "{name:?}");
        }
        for password in ["", "short", &"x".repeat(257)] {
            assert!(users.set("a", password).is_err(), "{password:?}");
        }
    }

    #[test]
    fn the_file_is_read_as_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("users.toml");
        let mut users = Users::default();
        users.set("Grace \"G\" Adams", "correct horse battery").unwrap();
        users.write(&path, None).unwrap();
        users.write(&path, None).unwrap();
        assert_eq!(Users::read(&path).unwrap().names(), ["Grace \"G\" Adams"]);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::write(&path, "[[user]]\nname = \"a\"\npassword = \"plain\"\n").unwrap();
        let why = Users::read(&path).unwrap_err();
        assert!(why.contains("not a hash") && !why.contains("plain"), "{why}");
    }
}
