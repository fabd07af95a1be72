//! Whose browser it is, and that a form was filled in on a page of ours.

use std::sync::Arc;

use aws_lc_rs::{hmac, rand};
use axum::{
    extract::{ConnectInfo, Request, State},
    http::{HeaderMap, HeaderValue, header},
    middleware::Next,
    response::Response,
};

use super::PageState;
use crate::status::{problem::ApiProblem, who::Caller};

/// The cookie that names a browser: random, and its session once somebody has logged in.
pub const BROWSER: &str = "chartdrop";
/// The cookie with the name of whoever decides, where nobody logs in.
const NAME: &str = "chartdrop-name";
/// A year: a name at a front desk rarely changes.
const NAME_KEPT: u32 = 365 * 86_400;
const LONGEST_NAME: usize = 60;

/// What makes tokens that nobody else can make. New at every start.
pub struct Keys {
    key: hmac::Key,
    /// Cookies are for TLS only.
    is_secure: bool,
}

impl Keys {
    /// Random. `None` when this machine has no randomness to give.
    pub fn new(is_secure: bool) -> Option<Self> {
        let mut bytes = [0; 32];
        rand::fill(&mut bytes).ok()?;
        Some(Self { key: hmac::Key::new(hmac::HMAC_SHA256, &bytes), is_secure })
    }

    /// The token of a browser's forms.
    fn token(&self, browser: &str) -> String {
        hex(hmac::sign(&self.key, browser.as_bytes()).as_ref())
    }

    /// In constant time.
    fn is_token(&self, browser: &str, token: &str) -> bool {
        unhex(token).is_some_and(|tag| hmac::verify(&self.key, browser.as_bytes(), &tag).is_ok())
    }

    /// A cookie of ours.
    pub fn cookie(&self, name: &str, value: &str, seconds: Option<u32>) -> Option<HeaderValue> {
        let age = seconds.map(|seconds| format!("; Max-Age={seconds}")).unwrap_or_default();
        let secure = if self.is_secure { "; Secure" } else { "" };
        format!("{name}={value}; Path=/; HttpOnly; SameSite=Strict{secure}{age}").parse().ok()
    }

    /// The cookie that keeps a name.
    pub fn name_cookie(&self, name: &str) -> Option<HeaderValue> {
        self.cookie(NAME, &hex(name.as_bytes()), Some(NAME_KEPT))
    }
}

/// Whoever looks at a page.
#[derive(Clone, Debug)]
pub struct Visitor {
    /// The browser's own random word.
    browser: String,
    /// What its forms carry.
    pub token: String,
    /// Who has logged in.
    pub user: Option<String>,
    /// Who decides: whoever has logged in, or the name that was typed here before.
    pub name: Option<String>,
}

impl Visitor {
    /// The browser's own word.
    pub fn browser(&self) -> &str {
        &self.browser
    }

    /// Whether a form came from a page that this browser was shown.
    pub fn check(&self, keys: &Keys, token: &str) -> Result<(), ApiProblem> {
        match keys.is_token(&self.browser, token) {
            true => Ok(()),
            false => Err(ApiProblem::conflict(
                "old-page",
                "This page was opened before chartdrop started, or in another browser.",
            )
            .with_remedy("Nothing was changed. Open the page again and repeat it.")),
        }
    }
}

/// Puts the [`Visitor`] into the request, and gives a new browser its cookie.
pub async fn visitor(State(state): State<Arc<PageState>>, mut request: Request, next: Next) -> Response {
    let known = cookie(request.headers(), BROWSER).filter(|value| value.len() == 64 && unhex(value).is_some());
    let browser = known.clone().or_else(random).unwrap_or_default();
    let user = match request.extensions().get::<ConnectInfo<Caller>>() {
        Some(ConnectInfo(Caller::User(name))) => Some(name.clone()),
        Some(ConnectInfo(Caller::Peer(_) | Caller::Loopback)) | None => None,
    };
    let typed = || cookie(request.headers(), NAME).and_then(|name| String::from_utf8(unhex(&name)?).ok());
    let name = user.clone().or_else(typed).map(|name| name.chars().take(LONGEST_NAME).collect());
    request.extensions_mut().insert(Visitor {
        token: state.keys.token(&browser),
        browser: browser.clone(),
        user,
        name,
    });
    let mut response = next.run(request).await;
    if known.is_none()
        && !response.headers().contains_key(header::SET_COOKIE)
        && let Some(value) = state.keys.cookie(BROWSER, &browser, None)
    {
        response.headers_mut().append(header::SET_COOKIE, value);
    }
    response
}

/// The value of a cookie.
pub fn cookie(headers: &HeaderMap, name: &str) -> Option<String> {
    let all = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = all.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| value.to_owned())
}

/// 32 random bytes in hex; `None` when this machine has none to give.
pub fn random() -> Option<String> {
    let mut bytes = [0; 32];
    rand::fill(&mut bytes).ok()?;
    Some(hex(&bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.is_ascii() || !text.len().is_multiple_of(2) {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_of_another_browser_is_not_taken() {
        let keys = Keys::new(true).unwrap();
        let token = keys.token("one");
        assert!(keys.is_token("one", &token));
        for (browser, token) in [("two", token.as_str()), ("one", ""), ("one", "zz"), ("one", &token[2..])] {
            assert!(!keys.is_token(browser, token));
        }
        assert!(!Keys::new(true).unwrap().is_token("one", &token), "after another start");
    }

    #[test]
    fn cookies_are_found_by_their_whole_name() {
        let mut headers = HeaderMap::new();
        headers.insert(header::COOKIE, "xchartdrop=1; chartdrop=2;chartdrop-name=41".parse().unwrap());
        assert_eq!(cookie(&headers, BROWSER).as_deref(), Some("2"));
        assert_eq!(cookie(&headers, NAME).and_then(|name| unhex(&name)), Some(b"A".to_vec()));
        assert_eq!(cookie(&headers, "none"), None);
    }

    #[test]
    fn cookies_are_for_this_page_alone() {
        let cookie = Keys::new(true).unwrap().cookie("a", "b", None).unwrap();
        for part in ["HttpOnly", "SameSite=Strict", "Secure"] {
            assert!(cookie.to_str().unwrap().contains(part), "{part}");
        }
    }
}
