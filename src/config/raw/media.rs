//! `relay:`, with `turn:`, and every `media:`.

use std::net::IpAddr;
use std::time::Duration;

use ipnetwork::IpNetwork;

use super::User;
use crate::config::diagnose::Problems;
use crate::config::read::{At, FromNode, FromWord, Named, Wrong, record, words};
use crate::config::words::{Bandwidth, Bind, PortRange, Reference};
use crate::config::yaml::{Node, Value};
use crate::edge::settings::Anchor;

record! {
    /// `media:` of the relay, a zone or a trunk.
    Media is "media" {
        ice: Option<At<Ice>>,
        srtp: Option<At<Srtp>>,
        anchor: Option<At<Anchor>>,
        idle_timeout: Option<Duration>,
    }
}

/// `ice:` in the configuration.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ice {
    Auto,
    Append,
    RelayOnly,
    Terminate,
    Strip,
}

words!(Ice, "treatment of ICE", {
    "auto" => Ice::Auto,
    "append" => Ice::Append,
    "relay_only" => Ice::RelayOnly,
    "terminate" => Ice::Terminate,
    "strip" => Ice::Strip,
});

/// `srtp:` in the configuration.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Srtp {
    Pass,
    Off,
    Sdes,
    Dtls,
    Optional,
    Required,
}

words!(Srtp, "treatment of SRTP", {
    "pass" => Srtp::Pass,
    "off" => Srtp::Off,
    "sdes" => Srtp::Sdes,
    "dtls" => Srtp::Dtls,
    "optional" => Srtp::Optional,
    "required" => Srtp::Required,
});

words!(Anchor, "way to anchor media", {
    "always" => Anchor::Always,
    "when_needed" => Anchor::WhenNeeded,
    "never" => Anchor::Never,
});

record! {
    /// `relay:`
    Relay is "the relay" {
        addresses: Option<Named<RelayAddress>>,
        ports: Option<At<PortRange>>,
        workers: Option<Workers>,
        media: Option<Media>,
        turn: Option<Turn>,
    }
}

record! {
    /// `relay: { addresses: … }`
    RelayAddress is "a relay address" {
        bind: At<IpAddr>,
        advertise: Option<At<IpAddr>>,
    }
}

/// `workers:` of the relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workers {
    /// One per core.
    Auto,
    /// So many.
    Count(u16),
}

impl FromWord for Workers {
    fn from_word(text: &str) -> Result<Workers, Wrong> {
        match (text, text.parse()) {
            ("auto", _) => Ok(Workers::Auto),
            (_, Ok(count @ 1..=256)) => Ok(Workers::Count(count)),
            _ => Err(Wrong::new(format!("`{text}` is no number of workers"), "write `auto`, or 1 to 256")),
        }
    }
}

record! {
    /// `turn:` of the relay.
    Turn is "turn" {
        realm: String,
        listeners: Named<TurnListener>,
        credentials: Option<Credentials>,
        roles: Option<Named<Role>>,
        default_role: Option<At<String>>,
    }
}

/// A listener of `turn:`: a bind, or `{ bind, certificate }`.
#[derive(Clone, Debug)]
pub struct TurnListener {
    /// Where it listens.
    pub bind: At<Bind>,
    /// Its certificate, for TLS.
    pub certificate: Option<At<String>>,
}

record! {
    TurnListenerSettings is "a TURN listener" {
        bind: At<Bind>,
        certificate: Option<At<String>>,
    }
}

impl FromNode for TurnListener {
    fn from_node(node: &Node, problems: &mut Problems) -> Option<TurnListener> {
        if let Value::Mapping(_) = node.value {
            let TurnListenerSettings { bind, certificate, .. } = FromNode::from_node(node, problems)?;
            return Some(TurnListener { bind, certificate });
        }
        Some(TurnListener { bind: At::from_node(node, problems)?, certificate: None })
    }
}

record! {
    /// `credentials:` of `turn:`.
    Credentials is "credentials" {
        shared_secret: Option<At<Reference>>,
        lifetime: Option<Duration>,
        users: Option<Named<User>>,
    }
}

record! {
    /// A role of `turn:`.
    Role is "a role" {
        allocations: Option<u32>,
        bandwidth: Option<Bandwidth>,
        lifetime: Option<Duration>,
        peers: Option<Peers>,
    }
}

/// `peers:` of a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peers {
    /// Our own relayed addresses, and the media addresses of admitted calls.
    Calls,
    /// These networks.
    Networks(Vec<IpNetwork>),
}

impl FromNode for Peers {
    fn from_node(node: &Node, problems: &mut Problems) -> Option<Peers> {
        match &node.value {
            Value::Scalar { text, .. } if text == "calls" => Some(Peers::Calls),
            Value::Sequence(_) => Vec::from_node(node, problems).map(Peers::Networks),
            _ => {
                problems.error(
                    node.at,
                    "these are no peers",
                    "write `calls`, or networks such as `[192.0.2.0/24]`",
                );
                None
            }
        }
    }
}
