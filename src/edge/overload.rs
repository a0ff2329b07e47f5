//! More comes than there is time for. New requests are turned away, the least trusted first, so that what has begun goes on and
//! its callers do not repeat themselves (RFC 6357 §4; RFC 3261 §21.5.4).

use std::time::Duration;

use super::Edge;
use super::flow::FlowEnd;
use super::identify::{Identified, Speaker};

/// How long what has just arrived may have waited before strangers are turned away. Far less than T1 (500 ms), after which
/// everyone would repeat what we have not come to yet.
const STRANGERS: Duration = Duration::from_millis(50);
/// The same for who has registered here.
const REGISTERED: Duration = Duration::from_millis(100);
/// And for carriers and the PBX.
const TRUSTED: Duration = Duration::from_millis(200);

impl Edge {
    /// What is handled from now on may have waited this long.
    pub fn handle_backlog(&mut self, waited: Duration) {
        self.waited = waited;
    }

    /// Is there no time for this request outside of dialogs? For an emergency there always is.
    pub(super) fn is_shed(&self, identified: &Identified) -> bool {
        if self.waited <= STRANGERS {
            return false;
        }
        let Identified { request, who, .. } = identified;
        let flow = FlowEnd::from(&request.source);
        let patience = match who.speaker {
            Speaker::Pbx | Speaker::Trunk(_) => TRUSTED,
            Speaker::Stranger if self.registrations.on_flow(&flow).next().is_some() => REGISTERED,
            Speaker::Stranger => STRANGERS,
        };
        self.waited > patience && !self.is_emergency(&request.message, who)
    }
}
