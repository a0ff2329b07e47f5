//! What a config file comes to: names resolved, defaults filled in, one part for each floor of the house.

use std::path::PathBuf;
use std::sync::Arc;

use ipnetwork::IpNetwork;

use super::diagnose::Report;
use crate::admin::settings::AdminSettings;
use crate::base::{ListenerId, NodeKey, TrunkId, ZoneId};
use crate::edge::settings;
use crate::net::settings::NetSettings;
use crate::observe::settings::Logging;
use crate::policy::dial_plan::DialPlan;
use crate::policy::geo::Geo;
use crate::relay;

/// Everything that a config file says.
#[derive(Debug)]
pub struct Compiled {
    /// Warnings, and what `run` refuses; no errors.
    pub report: Report,
    /// Where bans, CDRs, the node's key and self-signed certificates are kept.
    pub data_dir: PathBuf,
    /// For the edge, but for its key: [`Edge::with_key`].
    pub edge: Edge,
    /// For the relay; its addresses are the zones'.
    pub relay: relay::Settings,
    /// For the sockets.
    pub net: NetSettings,
    /// Policy files, globs expanded, in the order of the config and then of their names.
    pub policies: Vec<PathBuf>,
    /// Names that policies may use.
    pub names: Names,
    /// Networks that are never banned.
    pub never_ban: Vec<IpNetwork>,
    /// Where sources are.
    pub geo: Option<Geo>,
    /// The admin listener, if there is to be one.
    pub admin: Option<AdminSettings>,
    /// How to log.
    pub logging: Logging,
}

impl Compiled {
    /// Fails with what this build cannot do yet and therefore refuses to ignore.
    pub fn runnable(&self) -> Result<(), Report> {
        let refused = self.report.not_yet();
        if refused.is_empty() { Ok(()) } else { Err(refused) }
    }
}

/// [`settings::Settings`] without what the config does not hold: the key (it is in `data_dir`).
#[allow(missing_docs)]
#[derive(Clone, Debug)]
pub struct Edge {
    pub name: Arc<str>,
    pub zones: Vec<settings::Zone>,
    pub listeners: Vec<settings::Listener>,
    pub pbx: Option<settings::Pbx>,
    pub trunks: Vec<settings::Trunk>,
    pub routes: Vec<settings::Route>,
    pub users: settings::Users,
    pub tls_peers: Vec<settings::TlsPeer>,
}

impl Edge {
    /// The edge's settings, complete.
    pub fn with_key(self, key: NodeKey) -> settings::Settings {
        settings::Settings {
            name: self.name,
            key,
            zones: self.zones,
            listeners: self.listeners,
            pbx: self.pbx,
            trunks: self.trunks,
            routes: self.routes,
            users: self.users,
            tls_peers: self.tls_peers,
            limits: settings::Limits::default(),
        }
    }
}

/// Names that policies may use, each at the index of its id.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// Zones.
    pub zones: Vec<Arc<str>>,
    /// Listeners: those of SIP, and behind them those of TURN.
    pub listeners: Vec<Arc<str>>,
    /// TURN roles.
    pub roles: Vec<Arc<str>>,
    /// Trunks.
    pub trunks: Vec<Arc<str>>,
    /// How numbers are dialled in each of the zones.
    pub dial_plans: Vec<Option<Arc<DialPlan>>>,
    /// The config names no GeoIP database, so the country of a source is never known.
    pub no_geoip: bool,
    /// The config names no users, so nobody can be asked for a password.
    pub no_users: bool,
}

impl Names {
    /// The zone of this name.
    pub fn zone(&self, name: &str) -> Option<ZoneId> {
        index(&self.zones, name).map(ZoneId)
    }

    /// How numbers are dialled in this zone; of a zone that there is not, in the first that says so.
    pub fn dial_plan(&self, zone: ZoneId) -> Option<&DialPlan> {
        match self.dial_plans.get(usize::from(zone.0)) {
            Some(plan) => plan.as_deref(),
            None => self.dial_plans.iter().flatten().next().map(|plan| &**plan),
        }
    }

    /// The listener of this name; two, if one is of SIP and one of TURN.
    pub fn listeners_called(&self, name: &str) -> Option<Vec<ListenerId>> {
        let ids = (0..).map(ListenerId).zip(&self.listeners);
        let called: Vec<_> = ids.filter(|(_, known)| ***known == *name).map(|(id, _)| id).collect();
        Some(called).filter(|called| !called.is_empty())
    }

    /// The TURN role of this name.
    pub fn role(&self, name: &str) -> Option<u16> {
        index(&self.roles, name)
    }

    /// The trunk of this name.
    pub fn trunk(&self, name: &str) -> Option<TrunkId> {
        index(&self.trunks, name).map(TrunkId)
    }
}

fn index(names: &[Arc<str>], name: &str) -> Option<u16> {
    names.iter().position(|n| **n == *name).and_then(|i| u16::try_from(i).ok())
}
