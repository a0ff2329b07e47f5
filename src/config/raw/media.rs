//! `relay:` and every `media:`.

use std::net::IpAddr;
use std::time::Duration;

use super::Turn;
use crate::config::diagnose::Problems;
use crate::config::read::{At, FromNode, FromWord, Named, Wrong, record, words};
use crate::config::words::PortRange;
use crate::config::yaml::{Node, Value};
use crate::edge::settings::{Anchor, Ice, SealedBodies, Srtp};

record! {
    /// `media:` of the relay, a zone or a trunk.
    Media is "media" {
        ice: Option<At<Ice>>,
        srtp: Option<At<Srtp>>,
        anchor: Option<At<Anchor>>,
        sealed_bodies: Option<SealedBodies>,
        idle_timeout: Option<Duration>,
    }
}

words!(Ice, "treatment of ICE", {
    "auto" => Ice::Auto,
    "append" => Ice::Append,
    "relay_only" => Ice::RelayOnly,
    "terminate" => Ice::Terminate,
    "strip" => Ice::Strip,
});

words!(Srtp, "treatment of SRTP", {
    "pass" => Srtp::Pass,
    "off" => Srtp::Off,
    "sdes" => Srtp::Sdes,
    "dtls" => Srtp::Dtls,
    "optional" => Srtp::Optional,
    "required" => Srtp::Required,
});

words!(SealedBodies, "treatment of sealed bodies", {
    "refuse" => SealedBodies::Refuse,
    "pass" => SealedBodies::Pass,
});

words!(Anchor, "way to anchor media", {
    "always" => Anchor::Always,
    "when_needed" => Anchor::WhenNeeded,
    "never" => Anchor::Never,
});

record! {
    /// `relay:`
    Relay is "the relay" {
        addresses: Option<Named<RelayAddresses>>,
        ports: Option<At<PortRange>>,
        workers: Option<Workers>,
        media: Option<Media>,
        turn: Option<Turn>,
    }
}

/// What `relay: { addresses: … }` says of a zone: one address, or a list of them.
#[derive(Clone, Debug)]
pub struct RelayAddresses(pub Vec<RelayAddress>);

impl FromNode for RelayAddresses {
    fn from_node(node: &Node, problems: &mut Problems) -> Option<RelayAddresses> {
        if let Value::Mapping(_) = node.value {
            return RelayAddress::from_node(node, problems).map(|only| RelayAddresses(vec![only]));
        }
        Vec::from_node(node, problems).map(RelayAddresses)
    }
}

record! {
    /// A relay address.
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
