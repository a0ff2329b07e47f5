//! More comes than there is time for. New requests are turned away, the least trusted first, so that what has begun goes on and
//! its callers do not repeat themselves (RFC 6357 §4; RFC 3261 §21.5.4).

use std::time::Duration;

use super::Edge;
use super::flow::FlowEnd;
use super::identify::{Identified, Speaker};
use super::route::is_emergency;
use crate::base::ListenerId;

/// How long what has just arrived may have waited before strangers are turned away. Far less than T1 (500 ms), after which
/// everyone would repeat what we have not come to yet.
const STRANGERS: Duration = Duration::from_millis(50);
/// The same for who has registered here.
const REGISTERED: Duration = Duration::from_millis(100);
/// And for carriers and the PBX, whose own listener counts alone: a flood of datagrams on another one is no reason to turn them
/// away. (Connections wait in one queue for all listeners.)
const TRUSTED: Duration = Duration::from_millis(200);

impl Edge {
    /// What is handled from now on may have waited this long on that listener.
    pub fn handle_backlog(&mut self, listener: ListenerId, waited: Duration) {
        if let Some(known) = self.waited.get_mut(usize::from(listener.0)) {
            *known = waited;
        }
    }

    /// Is there no time for this request outside of dialogs? For an emergency there always is.
    pub(super) fn is_shed(&self, identified: &Identified) -> bool {
        let longest = self.waited.iter().max().copied().unwrap_or_default();
        if longest <= STRANGERS {
            return false;
        }
        let Identified { request, who, .. } = identified;
        let flow = FlowEnd::from(&request.source);
        let own = self.waited.get(usize::from(request.source.listener.0)).copied().unwrap_or_default();
        let (waited, patience) = match who.speaker {
            Speaker::Pbx | Speaker::Trunk(_) => (own, TRUSTED),
            Speaker::Stranger if self.registrations.on_flow(&flow).next().is_some() => (longest, REGISTERED),
            Speaker::Stranger => (longest, STRANGERS),
        };
        waited > patience && !is_emergency(&self.settings, &request.message, who)
    }
}
