//! The way to the server: through which proxy, and what is wrong when it cannot be reached.

use std::{error::Error, io, time::Duration};

use hyper_util::client::proxy::matcher::Matcher;
use jiff::Timestamp;
use reqwest::{Proxy, Url};

use super::{Failure, Settings, SetupError, Unreachable, settings::is_loopback};

/// How long a connection may take, TLS and proxy included.
pub(super) const CONNECT_TIME_LIMIT: Duration = Duration::from_secs(10);

/// Which server, and through what.
#[derive(Clone, Debug)]
pub(super) struct Route {
    /// Host, and port where it is not the usual one.
    host: String,
    /// Host and port of the proxy in between.
    proxy: Option<String>,
    configured: Option<Url>,
    is_direct: bool,
}

impl Route {
    pub(super) fn new(settings: &Settings, base: &Url) -> Result<Self, SetupError> {
        let configured = settings.proxy.as_deref().map(proxy_url).transpose()?;
        // Clinics that need a proxy to reach Redox do not need it to reach themselves.
        let is_direct = is_loopback(base);
        let proxy = match &configured {
            _ if is_direct => None,
            Some(proxy) => Some(authority(proxy)),
            None => from_environment(base),
        };
        Ok(Self { host: authority(base), proxy, configured, is_direct })
    }

    /// Tells the HTTP client which way to go; by default `HTTPS_PROXY` and `NO_PROXY` decide.
    pub(super) fn set(&self, builder: reqwest::ClientBuilder) -> Result<reqwest::ClientBuilder, SetupError> {
        match &self.configured {
            _ if self.is_direct => Ok(builder.no_proxy()),
            None => Ok(builder),
            Some(proxy) => {
                let refuse = |_| SetupError::Proxy { url: proxy.to_string(), why: "it is not a proxy's URL" };
                Ok(builder.no_proxy().proxy(Proxy::all(proxy.clone()).map_err(refuse)?))
            }
        }
    }

    /// What it means that no connection could be made.
    pub(super) fn unreachable(&self, error: &reqwest::Error) -> Failure {
        let causes = causes(error);
        let (kind, words) = self.diagnosis(error.is_timeout(), io_kind(error), &causes);
        let chain = causes.join(": ");
        let why = if chain.is_empty() || words.contains(&chain) { words } else { format!("{words} ({chain})") };
        Failure::Unreachable { kind, why }
    }

    fn diagnosis(&self, is_timeout: bool, io: Option<io::ErrorKind>, causes: &[String]) -> (Unreachable, String) {
        let says = |word: &str| causes.iter().any(|cause| cause.contains(word));
        let begins = |word: &str| causes.iter().any(|cause| cause.starts_with(word));
        let host = &self.host;
        let certificate = ["certificate", "UnknownIssuer", "BadSignature"].iter().any(|word| says(word));
        if certificate || ["handshake", "alert", "InvalidContentType", "tls"].iter().any(|word| says(word)) {
            return (Unreachable::Tls, self.tls(causes));
        }
        if says("tunnel error") || says("proxy") {
            let proxy = self.proxy.as_deref().unwrap_or("in between");
            let words = if says("authorization") {
                format!("Proxy: the proxy {proxy} wants a login")
            } else {
                format!("Proxy: the proxy {proxy} does not connect to {host}")
            };
            return (Unreachable::Proxy, words);
        }
        let (kind, target) = match &self.proxy {
            Some(proxy) => (Some(Unreachable::Proxy), format!("the proxy {proxy}")),
            None => (None, host.clone()),
        };
        let prefix = if kind.is_some() { "Proxy: " } else { "" };
        let (own, words) = if begins("dns error") {
            let unknown = says("Name or service not known") || says("No address associated") || says("not known");
            let words = if unknown { "no such host" } else { "the name cannot be looked up at the moment:" };
            (Unreachable::Dns, format!("DNS: {words} {target}"))
        } else if is_timeout || io == Some(io::ErrorKind::TimedOut) {
            (Unreachable::Timeout, format!("no connection to {target} within {} seconds", CONNECT_TIME_LIMIT.as_secs()))
        } else if io == Some(io::ErrorKind::ConnectionRefused) {
            (Unreachable::Refused, format!("connection refused: no server listens at {target}"))
        } else {
            (Unreachable::Other, format!("no connection to {target}"))
        };
        (kind.unwrap_or(own), format!("{prefix}{words}"))
    }

    fn tls(&self, causes: &[String]) -> String {
        let says = |word: &str| causes.iter().any(|cause| cause.contains(word));
        let host = &self.host;
        if says("UnknownIssuer") || says("unknown issuer") {
            return format!(
                "TLS: the certificate of {host} is not signed by a known authority; a proxy that looks into TLS needs ca_file"
            );
        }
        if says("not valid for name") || says("NotValidForName") {
            return format!("TLS: the certificate is another host's, not that of {host}");
        }
        if says("not valid yet") || says("NotValidYet") {
            return format!("TLS: the certificate of {host} is not valid yet; check this computer's clock");
        }
        if says("expired") || says("Expired") {
            let ended = causes.iter().find_map(|cause| {
                let (_, rest) = cause.split_once("not valid after ")?;
                let seconds = rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()?;
                Timestamp::from_second(seconds).ok()
            });
            let when = ended.map(|at| format!(" on {}", at.strftime("%Y-%m-%d"))).unwrap_or_default();
            return format!("TLS: the certificate of {host} expired{when}; if it did not, check this computer's clock");
        }
        format!("TLS: no encrypted connection to {host}")
    }
}

/// The causes beneath the library's own error, whose text holds the URL.
fn causes(error: &reqwest::Error) -> Vec<String> {
    let mut causes: Vec<String> = Vec::new();
    let mut next = error.source();
    while let Some(cause) = next {
        let words = cause.to_string();
        // Libraries like to repeat the cause inside of their own text.
        if !words.starts_with("client error (") && causes.last().is_none_or(|last| !last.contains(&words)) {
            causes.push(words);
        }
        next = cause.source();
    }
    causes
}

fn io_kind(error: &reqwest::Error) -> Option<io::ErrorKind> {
    let mut next = error.source();
    let mut found = None;
    while let Some(cause) = next {
        found = cause.downcast_ref::<io::Error>().map(io::Error::kind).or(found);
        next = cause.source();
    }
    found
}

fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

fn proxy_url(text: &str) -> Result<Url, SetupError> {
    let refuse = |why| Err(SetupError::Proxy { url: text.to_owned(), why });
    let Ok(url) = Url::parse(text) else {
        return refuse("it is not a URL such as \"http://proxy.clinic.example:3128\"");
    };
    if !url.username().is_empty() || url.password().is_some() {
        // Not repeated in the message: it may hold a password.
        return Err(SetupError::Proxy {
            url: "…".into(),
            why: "it must not hold a user name or a password; a proxy that wants a login is set by HTTPS_PROXY in the service's environment",
        });
    }
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return refuse("it must begin with http:// or https://");
    }
    if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
        return refuse("it must end after the host and the port");
    }
    Ok(url)
}

/// The proxy that `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` choose, as the HTTP client reads them.
fn from_environment(base: &Url) -> Option<String> {
    let proxy = Matcher::from_env().intercept(&base.as_str().parse().ok()?)?;
    let authority = proxy.uri().authority()?;
    Some(authority.as_str().rsplit('@').next().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests;
