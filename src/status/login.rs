//! Sessions of the page: who is in, for how long, and how often somebody may try.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use aws_lc_rs::digest;
use axum::{
    body::Body,
    extract::{ConnectInfo, Request, State},
    http::{Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Redirect, Response},
};
use futures_util::StreamExt;
use tokio::sync::Semaphore;

use super::{page, problem::ApiProblem, users::Users, who::Caller};

/// A shift.
const LASTS: Duration = Duration::from_secs(10 * 3600);
/// More browsers than a clinic has; the oldest session ends for a new one.
const MOST_SESSIONS: usize = 1000;
/// Wrong passwords in a row before a name has to wait, and how long at first and at most.
const FREE_TRIES: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_secs(30);
const LONGEST_PAUSE: Duration = Duration::from_secs(15 * 60);
/// Names whose wrong passwords are remembered; beyond that everybody waits.
const MOST_NAMES: usize = 1000;
/// Wrong passwords of everybody in a minute.
const MOST_WRONG: u32 = 60;
const MINUTE: Duration = Duration::from_secs(60);
/// Passwords that are checked at a time: each takes 19 MiB and a processor.
const AT_A_TIME: usize = 2;
/// How often an open stream of events looks whether its session is still one.
const LOOK: Duration = Duration::from_secs(5);

/// Where people come in.
pub struct Doors {
    users: PathBuf,
    sessions: Mutex<HashMap<[u8; 32], Session>>,
    wrong: Mutex<Wrong>,
    checking: Semaphore,
}

struct Session {
    name: String,
    /// The hash of the password at that time: another one, or none, ends the session.
    password: String,
    until: Instant,
}

#[derive(Default)]
struct Wrong {
    names: HashMap<String, (u32, Instant)>,
    minute: Option<(Instant, u32)>,
}

/// Why somebody is not let in.
#[derive(Debug, PartialEq, Eq)]
pub enum Refused {
    /// The name or the password.
    Wrong,
    /// Too many tries.
    Wait(Duration),
    /// Nobody can log in: for the log and the page.
    Closed(String),
}

impl Wrong {
    /// How long a name has to wait now.
    fn wait(&self, name: &str, now: Instant) -> Option<Duration> {
        let of_name = self.names.get(name).map(|(_, until)| until.saturating_duration_since(now));
        let of_all = match self.minute {
            Some((began, n)) if n >= MOST_WRONG => (began + MINUTE).saturating_duration_since(now),
            Some(_) | None => Duration::ZERO,
        };
        Some(of_name.unwrap_or_default().max(of_all)).filter(|wait| !wait.is_zero())
    }

    /// A try begins: it counts as wrong until it is known to be right, so that many at once are no way around.
    fn count(&mut self, name: &str, now: Instant) {
        self.minute = match self.minute {
            Some((began, n)) if now < began + MINUTE => Some((began, n + 1)),
            Some(_) | None => Some((now, 1)),
        };
        if self.names.len() >= MOST_NAMES {
            self.names.retain(|_, (_, until)| *until + LONGEST_PAUSE > now);
        }
        if self.names.len() >= MOST_NAMES && !self.names.contains_key(name) {
            return;
        }
        let (tries, until) = self.names.entry(name.to_owned()).or_insert((0, now));
        *tries += 1;
        let doubled = FIRST_PAUSE * 2_u32.saturating_pow(tries.saturating_sub(FREE_TRIES).min(10));
        *until = if *tries < FREE_TRIES { now } else { now + doubled.min(LONGEST_PAUSE) };
    }

    fn forget(&mut self, name: &str) {
        self.names.remove(name);
        if let Some((_, n)) = &mut self.minute {
            *n = n.saturating_sub(1);
        }
    }
}

impl Doors {
    /// For the users in that file.
    pub fn new(users: PathBuf) -> Arc<Self> {
        Arc::new(Self {
            users,
            sessions: Mutex::default(),
            wrong: Mutex::default(),
            checking: Semaphore::new(AT_A_TIME),
        })
    }

    fn sessions(&self) -> MutexGuard<'_, HashMap<[u8; 32], Session>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wrong(&self) -> MutexGuard<'_, Wrong> {
        self.wrong.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a session under a new random word; `word` is that word.
    pub async fn enter(&self, name: &str, password: String, word: &str) -> Result<(), Refused> {
        let now = Instant::now();
        {
            let mut wrong = self.wrong();
            if let Some(wait) = wrong.wait(name, now) {
                return Err(Refused::Wait(wait));
            }
            wrong.count(name, now);
        }
        let _place = self.checking.acquire().await;
        let (path, who) = (self.users.clone(), name.to_owned());
        let checked = tokio::task::spawn_blocking(move || {
            let users = Users::read(&path)?;
            let is_right = users.is_password(&who, &password);
            Ok(users.hash_of(&who).filter(|_| is_right).map(str::to_owned))
        });
        let password = match checked.await {
            Ok(Ok(Some(password))) => password,
            Ok(Ok(None)) => {
                tracing::warn!("somebody gave a wrong name or password on the page");
                return Err(Refused::Wrong);
            }
            Ok(Err(why)) => {
                tracing::error!("nobody can log in: {why}");
                return Err(Refused::Closed(why));
            }
            Err(_) => return Err(Refused::Wrong),
        };
        self.wrong().forget(name);
        let mut sessions = self.sessions();
        sessions.retain(|_, session| session.until > now);
        if sessions.len() >= MOST_SESSIONS
            && let Some(oldest) = sessions.iter().min_by_key(|(_, session)| session.until).map(|(key, _)| *key)
        {
            sessions.remove(&oldest);
        }
        sessions.insert(key(word), Session { name: name.to_owned(), password, until: now + LASTS });
        Ok(())
    }

    /// Ends a session.
    pub fn leave(&self, word: &str) {
        self.sessions().remove(&key(word));
    }

    /// Who has logged in with this word, and still may.
    async fn inside(&self, word: &str) -> Option<String> {
        let (name, password) = {
            let sessions = self.sessions();
            let session = sessions.get(&key(word)).filter(|session| session.until > Instant::now())?;
            (session.name.clone(), session.password.clone())
        };
        let (path, who) = (self.users.clone(), name.clone());
        let is_same = tokio::task::spawn_blocking(move || {
            Users::read(&path).is_ok_and(|users| users.hash_of(&who) == Some(password.as_str()))
        });
        match is_same.await {
            Ok(true) => Some(name),
            Ok(false) | Err(_) => {
                self.leave(word);
                None
            }
        }
    }
}

/// Sessions are found by a digest of their word: what a look-up's time tells is of no use.
fn key(word: &str) -> [u8; 32] {
    let mut key = [0; 32];
    key.copy_from_slice(digest::digest(&digest::SHA256, word.as_bytes()).as_ref());
    key
}

/// Lets in whoever has logged in, and says to the rest of the program who it is.
pub async fn guard(State(doors): State<Arc<Doors>>, mut request: Request, next: Next) -> Response {
    let path = request.uri().path();
    if path == "/login" || path.starts_with("/assets/") || path == "/healthz" || path == "/readyz" {
        return next.run(request).await;
    }
    let word = page::browser(request.headers()).unwrap_or_default();
    let Some(name) = doors.inside(&word).await else {
        if request.method() == Method::GET && page::wants_page(request.headers()) {
            let asked = request.uri().path_and_query().map_or("/", |asked| asked.as_str());
            return Redirect::to(&page::login_path(asked)).into_response();
        }
        let problem = ApiProblem::new(StatusCode::UNAUTHORIZED, "not-logged-in", "Nobody has logged in here.")
            .with_remedy("Log in at /login. On the machine itself the commands need no login.");
        return problem.into_response();
    };
    let is_stream = path == "/api/v1/events";
    request.extensions_mut().insert(ConnectInfo(Caller::User(name)));
    let response = next.run(request).await;
    let is_events = response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == "text/event-stream");
    if !is_stream || !is_events {
        return response;
    }
    // What is told ends with the session.
    let end = async move {
        while doors.inside(&word).await.is_some() {
            tokio::time::sleep(LOOK).await;
        }
    };
    response.map(|body| Body::from_stream(body.into_data_stream().take_until(Box::pin(end))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_guesses_waits_longer_and_longer() {
        let (mut wrong, now) = (Wrong::default(), Instant::now());
        for _ in 1..FREE_TRIES {
            wrong.count("a", now);
            assert_eq!(wrong.wait("a", now), None);
        }
        wrong.count("a", now);
        assert_eq!(wrong.wait("a", now), Some(FIRST_PAUSE));
        assert_eq!(wrong.wait("b", now), None, "another one does not");
        wrong.count("a", now);
        assert_eq!(wrong.wait("a", now), Some(2 * FIRST_PAUSE));
        for _ in 0..40 {
            wrong.count("a", now);
        }
        assert_eq!(wrong.wait("a", now), Some(LONGEST_PAUSE));
        wrong.forget("a");
        assert_eq!(wrong.wait("a", now), None);
    }

    #[test]
    fn many_names_are_no_way_around() {
        let (mut wrong, now) = (Wrong::default(), Instant::now());
        for n in 0..MOST_WRONG {
            assert_eq!(wrong.wait("me", now), None);
            wrong.count(&n.to_string(), now);
        }
        assert_eq!(wrong.wait("me", now), Some(MINUTE));
        assert_eq!(wrong.wait("me", now + MINUTE), None);
    }

    #[tokio::test]
    async fn a_session_ends_with_its_password() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("users.toml");
        let mut users = Users::default();
        users.set("a", "correct horse battery").unwrap();
        users.write(&path, None).unwrap();
        let doors = Doors::new(path.clone());
        assert_eq!(doors.enter("a", "wrong horse battery".into(), "w").await, Err(Refused::Wrong));
        assert_eq!(doors.inside("w").await, None);
        doors.enter("a", "correct horse battery".into(), "w").await.unwrap();
        assert_eq!(doors.inside("w").await.as_deref(), Some("a"));
        assert_eq!(doors.inside("v").await, None);
        users.set("a", "another horse battery").unwrap();
        users.write(&path, None).unwrap();
        assert_eq!(doors.inside("w").await, None);
        doors.enter("a", "another horse battery".into(), "w").await.unwrap();
        doors.leave("w");
        assert_eq!(doors.inside("w").await, None);
    }
}
