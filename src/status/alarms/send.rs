//! The three ways out: mail, webhook and command. Each sends one message or says why it could not.

use std::{path::Path, process::Stdio, time::Duration};

use aws_lc_rs::hmac;
use lettre::{
    AsyncSmtpTransport, AsyncTransport, Tokio1Executor, message::header::ContentType,
    transport::smtp::authentication::Credentials,
};
use tokio::{io::AsyncWriteExt, process::Command, time::timeout};

use super::message::Message;
use crate::{
    config::alarms::{Alarms, Mail, Webhook, is_this_machine},
    redox::read_secret,
};

/// A message that takes longer has failed.
const LIMIT: Duration = Duration::from_secs(30);

/// A way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// SMTP.
    Mail,
    /// HTTP.
    Webhook,
    /// A program.
    Command,
}

impl Way {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Mail, Self::Webhook, Self::Command];

    /// Its name in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mail => "mail",
            Self::Webhook => "webhook",
            Self::Command => "command",
        }
    }

    /// The code of the alarm that says that it fails.
    pub fn alarm(self) -> String {
        format!("alarm-{}-failed", self.as_str())
    }

    /// Whether it is configured.
    pub fn is_on(self, alarms: &Alarms) -> bool {
        match self {
            Self::Mail => alarms.mail.is_some(),
            Self::Webhook => alarms.webhook.is_some(),
            Self::Command => alarms.command.is_some(),
        }
    }

    /// Sends a message; what is not configured sends nothing. The error is for a person.
    pub async fn send(self, alarms: &Alarms, message: &Message) -> Result<(), String> {
        let sending = async {
            match self {
                Self::Mail => match &alarms.mail {
                    Some(settings) => mail(settings, message).await,
                    None => Ok(()),
                },
                Self::Webhook => match &alarms.webhook {
                    Some(settings) => webhook(settings, message).await,
                    None => Ok(()),
                },
                Self::Command => match &alarms.command {
                    Some(settings) => command(settings, message).await,
                    None => Ok(()),
                },
            }
        };
        timeout(LIMIT, sending).await.unwrap_or_else(|_| Err(format!("it took longer than {} s", LIMIT.as_secs())))
    }
}

fn secret(path: &Path) -> Result<zeroize::Zeroizing<Vec<u8>>, String> {
    read_secret(path).map_err(|error| format!("the secret {} cannot be read: {error}", path.display()))
}

async fn mail(settings: &Mail, message: &Message) -> Result<(), String> {
    let host = settings.server.host_str().unwrap_or_default();
    let transport = match settings.server.scheme() {
        "smtps" => AsyncSmtpTransport::<Tokio1Executor>::relay(host),
        _ if is_this_machine(&settings.server) => Ok(AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(host)),
        _ => AsyncSmtpTransport::<Tokio1Executor>::starttls_relay(host),
    };
    let mut transport = transport.map_err(|error| error.to_string())?.timeout(Some(LIMIT));
    if let Some(port) = settings.server.port() {
        transport = transport.port(port);
    }
    if let Some((user, path)) = &settings.login {
        let password = secret(path)?;
        let password = std::str::from_utf8(&password).map_err(|_| "the password is not text".to_owned())?;
        transport = transport.credentials(Credentials::new(user.clone(), password.trim_end().to_owned()));
    }
    let mut mail = lettre::Message::builder().from(settings.from.clone()).subject(message.subject());
    for to in &settings.to {
        mail = mail.to(to.clone());
    }
    let mail = mail.header(ContentType::TEXT_PLAIN).body(message.body()).map_err(|error| error.to_string())?;
    transport.build().send(mail).await.map(drop).map_err(|error| error.to_string())
}

async fn webhook(settings: &Webhook, message: &Message) -> Result<(), String> {
    let body = serde_json::to_vec(message).map_err(|error| error.to_string())?;
    let secret = secret(&settings.secret)?;
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.trim_ascii_end()), &body);
    let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).timeout(LIMIT).build();
    let answer = client
        .map_err(|error| error.to_string())?
        .post(settings.url.clone())
        .header("content-type", "application/json")
        .header("x-chartdrop-signature", format!("sha256={hex}"))
        .body(body)
        .send()
        .await
        // A webhook's URL is often its password.
        .map_err(|error| error.without_url().to_string())?;
    match answer.status() {
        status if status.is_success() => Ok(()),
        status => Err(format!("the server answered {status}")),
    }
}

async fn command(command: &[String], message: &Message) -> Result<(), String> {
    let Some((program, arguments)) = command.split_first() else { return Ok(()) };
    let body = serde_json::to_vec(message).map_err(|error| error.to_string())?;
    let mut child = Command::new(program)
        .args(arguments)
        .env_remove("CREDENTIALS_DIRECTORY")
        .env_remove("NOTIFY_SOCKET")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("{program} cannot be started: {error}"))?;
    if let Some(mut input) = child.stdin.take() {
        // A program need not read what it is told.
        input.write_all(&body).await.ok();
    }
    match child.wait().await.map_err(|error| error.to_string())? {
        status if status.success() => Ok(()),
        status => Err(format!("{program} ended with {status}")),
    }
}
