//! Registrations over UDP outlast a restart: such a phone does not notice that we were gone, and until its next REGISTER it
//! could neither call nor be called.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::flow::FlowEnd;
use super::registration::Binding;
use super::settings::Settings;
use super::{Edge, Timer};
use crate::base::{Now, Transport, UnixTime, ZoneId};

/// An accepted contact as it is written down: by names, for after a restart the config may be another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedBinding {
    user: Arc<str>,
    contact: String,
    zone: Arc<str>,
    listener: Arc<str>,
    remote: SocketAddr,
    /// Expires then: seconds since 1970.
    until: u64,
}

impl SavedBinding {
    /// `None`: there is nothing that could be written down.
    fn of(binding: &Binding, settings: &Settings) -> Option<SavedBinding> {
        Some(SavedBinding {
            user: binding.user.clone(),
            contact: String::from_utf8(binding.contact.to_vec()).ok()?,
            zone: settings.zone(binding.zone)?.name.clone(),
            listener: settings.listener(binding.flow.listener)?.name.clone(),
            remote: binding.flow.remote,
            until: binding.until.0.as_secs(),
        })
    }

    /// The flow, if the config still has its listener, and the zone.
    fn place(&self, settings: &Settings) -> Option<(FlowEnd, ZoneId)> {
        let zone = settings.zone_named(&self.zone)?;
        let (id, listener) = settings.listener_named(&self.listener, zone)?;
        let flow = FlowEnd::again(id, listener.transport, self.remote);
        (flow.transport == Transport::Udp).then_some((flow, zone))
    }
}

impl Edge {
    /// What has changed since this was last asked: keys, and what is to be written down of them; `None`: gone.
    pub fn save_registrations(&mut self) -> Vec<(u64, Option<SavedBinding>)> {
        let settings = &self.settings;
        let changed = self.registrations.take_changed();
        changed.map(|(key, binding)| (key, binding.and_then(|b| SavedBinding::of(b, settings)))).collect()
    }

    /// Puts back what an earlier run wrote down. How many live on.
    pub fn restore_registrations(
        &mut self,
        saved: impl IntoIterator<Item = (u64, SavedBinding)>,
        now: Now,
    ) -> usize {
        for (key, saved) in saved {
            let until = UnixTime(Duration::from_secs(saved.until));
            let left = until.0.saturating_sub(now.unix.0);
            let Some((flow, zone)) = saved.place(&self.settings) else { continue };
            if left.is_zero() || self.registrations.is_full() {
                continue;
            }
            let contact = saved.contact.into_bytes().into();
            let timer = self.timers.set(now.instant + left, Timer::BindingExpires(key));
            let binding = Binding { user: saved.user, contact, flow, zone, until, timer };
            self.registrations.insert(key, binding);
        }
        self.registrations.len()
    }
}
