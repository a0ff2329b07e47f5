//! `turn:` of the relay.

use std::net::SocketAddr;
use std::time::Duration;

use ipnetwork::IpNetwork;

use super::User;
use crate::config::diagnose::Problems;
use crate::config::read::{At, FromNode, Named, record};
use crate::config::words::{Bandwidth, HostPort, Reference, TurnBind};
use crate::config::yaml::{Node, Value};

record! {
    /// `turn:`
    Turn is "turn" {
        realm: At<String>,
        listeners: At<Named<TurnListener>>,
        credentials: Option<Credentials>,
        roles: Option<Named<Role>>,
        default_role: Option<At<String>>,
        alternates: Option<Vec<At<SocketAddr>>>,
    }
}

/// A listener of `turn:`: a bind, or a mapping.
#[derive(Clone, Debug)]
pub struct TurnListener {
    /// Where it listens.
    pub bind: At<TurnBind>,
    /// How clients name it.
    pub advertise: Option<HostPort>,
    /// Its certificate, for TLS and DTLS.
    pub certificate: Option<At<String>>,
}

record! {
    TurnListenerSettings is "a TURN listener" {
        bind: At<TurnBind>,
        advertise: Option<HostPort>,
        certificate: Option<At<String>>,
    }
}

impl FromNode for TurnListener {
    fn from_node(node: &Node, problems: &mut Problems) -> Option<TurnListener> {
        if let Value::Mapping(_) = node.value {
            let TurnListenerSettings { bind, advertise, certificate, .. } =
                FromNode::from_node(node, problems)?;
            return Some(TurnListener { bind, advertise, certificate });
        }
        Some(TurnListener { bind: At::from_node(node, problems)?, advertise: None, certificate: None })
    }
}

record! {
    /// `credentials:` of `turn:`.
    Credentials is "credentials" {
        shared_secret: Option<Vec<At<Reference>>>,
        lifetime: Option<Duration>,
        users: Option<Named<User>>,
    }
}

record! {
    /// A role of `turn:`.
    Role is "a role" {
        allocations: Option<At<u32>>,
        bandwidth: Option<Bandwidth>,
        lifetime: Option<At<Duration>>,
        peers: Option<Peers>,
        deny: Option<Vec<IpNetwork>>,
        tcp: Option<At<bool>>,
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
