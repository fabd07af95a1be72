//! `[alarms]`: who is told when something needs a person, and how.

use std::path::{Path, PathBuf};

use jiff::civil::Time;
use lettre::message::Mailbox;
use reqwest::Url;
use serde::Deserialize;

/// Who is told of alarms; nobody unless configured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Alarms {
    /// By mail.
    pub mail: Option<Mail>,
    /// By a signed POST.
    pub webhook: Option<Webhook>,
    /// By a program that gets JSON on its standard input.
    pub command: Option<Vec<String>>,
}

/// How mails are sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    /// To whom.
    pub to: Vec<Mailbox>,
    /// From whom.
    pub from: Mailbox,
    /// `smtps://` (TLS from the first byte) or `smtp://` (STARTTLS is required; plain to this machine only).
    pub server: Url,
    /// Who logs in, and the file or credential with the password.
    pub login: Option<(String, PathBuf)>,
    /// When the daily summary is sent.
    pub summary: Option<Time>,
}

/// Where alarms are posted to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// https, or http to this machine.
    pub url: Url,
    /// The file or credential with the key of the signature.
    pub secret: PathBuf,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawAlarms {
    mail: Option<RawMail>,
    webhook: Option<RawWebhook>,
    command: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawMail {
    to: Vec<String>,
    from: String,
    server: String,
    user: Option<String>,
    password: Option<PathBuf>,
    summary: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawWebhook {
    url: String,
    secret: PathBuf,
}

impl RawAlarms {
    /// Checks what the types cannot say; `locate` makes a path of a secret's name. The error is for a person.
    pub(super) fn check(self, locate: impl Fn(&Path) -> PathBuf) -> Result<Alarms, String> {
        let mail = self.mail.map(|raw| mail(raw, &locate)).transpose()?;
        let webhook = self.webhook.map(|raw| webhook(raw, &locate)).transpose()?;
        if let Some(command) = &self.command
            && !command.first().is_some_and(|program| Path::new(program).is_absolute())
        {
            return Err("alarms.command must begin with the absolute path of a program".into());
        }
        Ok(Alarms { mail, webhook, command: self.command })
    }
}

fn mail(raw: RawMail, locate: &impl Fn(&Path) -> PathBuf) -> Result<Mail, String> {
    let address = |key: &str, text: &String| {
        text.parse::<Mailbox>()
            .map_err(|_| format!("alarms.mail: {key} must be mail addresses such as \"it@clinic.example\""))
    };
    if raw.to.is_empty() {
        return Err("alarms.mail: to must name at least one mail address".into());
    }
    let server = Url::parse(&raw.server)
        .ok()
        .filter(|url| ["smtp", "smtps"].contains(&url.scheme()) && url.has_host() && url.username().is_empty())
        .ok_or("alarms.mail: server must be such as \"smtps://mail.clinic.example\", or \"smtp://mail.clinic.example:587\" for STARTTLS")?;
    let login = match (raw.user, raw.password) {
        (Some(user), Some(password)) => Some((user, locate(&password))),
        (None, None) => None,
        (Some(_), None) | (None, Some(_)) => {
            return Err("alarms.mail: user and password belong together: set both or none".into());
        }
    };
    let summary = raw
        .summary
        .map(|text| Time::strptime("%H:%M", &text))
        .transpose()
        .map_err(|_| "alarms.mail: summary must be a time of day such as \"07:00\"".to_owned())?;
    let to = raw.to.iter().map(|text| address("to", text)).collect::<Result<_, _>>()?;
    Ok(Mail { to, from: address("from", &raw.from)?, server, login, summary })
}

fn webhook(raw: RawWebhook, locate: &impl Fn(&Path) -> PathBuf) -> Result<Webhook, String> {
    let url = Url::parse(&raw.url)
        .ok()
        .filter(|url| url.scheme() == "https" || (url.scheme() == "http" && is_this_machine(url)))
        .ok_or("alarms.webhook: url must begin with https:// (http:// to this machine only)")?;
    Ok(Webhook { url, secret: locate(&raw.secret) })
}

/// Whether a URL leads to this machine, so that nobody can listen on the way.
pub fn is_this_machine(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<Alarms, String> {
        let raw: RawAlarms = toml::from_str(text).unwrap();
        raw.check(|name| Path::new("/etc/chartdrop").join(name))
    }

    #[test]
    fn what_cannot_work_is_refused_with_words() {
        let mail =
            |rest: &str| format!("mail = {{ to = [\"it@clinic.example\"], from = \"c@clinic.example\", {rest} }}");
        assert!(check(&mail("server = \"smtps://mail.clinic.example\", summary = \"07:00\"")).is_ok());
        for (text, word) in [
            (mail("server = \"mail.clinic.example\""), "smtps://"),
            (mail("server = \"https://mail.clinic.example\""), "smtps://"),
            (mail("server = \"smtps://m\", user = \"c\""), "belong together"),
            (mail("server = \"smtps://m\", summary = \"7 am\""), "07:00"),
            (mail("server = \"smtps://m\"").replace("it@clinic.example", "it"), "it@clinic.example"),
            ("webhook = { url = \"http://hooks.example\", secret = \"s\" }".into(), "https://"),
            ("command = [\"page-me\"]".into(), "absolute"),
            ("command = []".into(), "absolute"),
        ] {
            assert!(check(&text).unwrap_err().contains(word), "{text}");
        }
        for url in ["http://127.0.0.1:1/x", "http://[::1]/x", "http://localhost/x", "https://hooks.example/x"] {
            let alarms = check(&format!("webhook = {{ url = \"{url}\", secret = \"s\" }}")).unwrap();
            assert_eq!(alarms.webhook.unwrap().secret, Path::new("/etc/chartdrop/s"));
        }
    }
}
