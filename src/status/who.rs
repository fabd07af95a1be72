//! Who asks: over the socket the peer's user as the kernel knows it, over TCP whoever is logged in.

use std::fs;

use axum::{extract::connect_info::Connected, serve::IncomingStream};
use tokio::net::{TcpListener, UnixListener};

use super::limited::Limited;

/// Who is at the other end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// A user of this machine, by name, over the socket.
    Peer(String),
    /// Somebody at this machine, over TCP and without a login: is who the request says.
    Loopback,
    /// Somebody who has logged in.
    User(String),
}

impl Caller {
    /// The user with that number.
    pub fn user(uid: u32) -> Self {
        Self::Peer(name(uid))
    }

    /// Whose decision this is; `claimed` is what the request says.
    pub fn acts_as(&self, claimed: Option<&str>) -> Option<String> {
        match self {
            Self::Peer(name) | Self::User(name) => Some(name.clone()),
            Self::Loopback => claimed.map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned),
        }
    }
}

impl Connected<IncomingStream<'_, Limited<UnixListener>>> for Caller {
    fn connect_info(stream: IncomingStream<'_, Limited<UnixListener>>) -> Self {
        match stream.io().io.peer_cred() {
            Ok(peer) => Self::user(peer.uid()),
            Err(_) => Self::Peer("somebody".into()),
        }
    }
}

impl Connected<IncomingStream<'_, Limited<TcpListener>>> for Caller {
    fn connect_info(_: IncomingStream<'_, Limited<TcpListener>>) -> Self {
        Self::Loopback
    }
}

/// A user's name; with `sudo` in front of a command it is root, as for everything else.
fn name(uid: u32) -> String {
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let of = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next()?.to_owned();
        (fields.nth(1)?.parse() == Ok(uid)).then_some(name)
    };
    users.lines().find_map(of).unwrap_or_else(|| format!("uid {uid}"))
}

/// The number of a group.
pub fn group(name: &str) -> Option<u32> {
    let groups = fs::read_to_string("/etc/group").ok()?;
    let of = |line: &str| {
        let mut fields = line.split(':');
        (fields.next()? == name).then(|| fields.nth(1)?.parse().ok()).flatten()
    };
    groups.lines().find_map(of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn over_the_socket_nobody_is_who_the_request_says() {
        assert_eq!(Caller::user(0).acts_as(Some("somebody else")).as_deref(), Some("root"));
        assert_eq!(Caller::user(4_000_000).acts_as(None).as_deref(), Some("uid 4000000"));
        assert_eq!(Caller::Loopback.acts_as(Some(" M. Adams ")).as_deref(), Some("M. Adams"));
        assert_eq!(Caller::Loopback.acts_as(Some(" ")), None);
        assert_eq!(group("root"), Some(0));
    }
}
