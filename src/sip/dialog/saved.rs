//! A confirmed dialog outlasts a restart.

use serde::{Deserialize, Serialize};

use super::texts::{OfParty, Texts, joined};
use super::{Dialog, DialogState, Side};
use crate::base::Octets;

/// A confirmed dialog as it is written down.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SavedDialog {
    call_id: Octets,
    caller: SavedParty,
    callee: SavedParty,
    record_routes_sent: u32,
}

/// Empty texts: nothing was seen.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct SavedParty {
    address: Octets,
    tag: Octets,
    target: Octets,
    routes: Vec<Octets>,
    cseq: Option<u32>,
}

impl Dialog {
    /// What a restart must not forget of it; `None` unless it is confirmed.
    pub fn save(&self) -> Option<SavedDialog> {
        (self.state == DialogState::Confirmed).then(|| SavedDialog {
            call_id: self.call_id().into(),
            caller: self.save_party(Side::Caller),
            callee: self.save_party(Side::Callee),
            record_routes_sent: self.record_routes_sent,
        })
    }

    fn save_party(&self, side: Side) -> SavedParty {
        let text = |text| Octets::from(self.text(side, text));
        SavedParty {
            address: text(OfParty::Address),
            tag: text(OfParty::Tag),
            target: text(OfParty::Target),
            routes: self.routes(side).map(Octets::from).collect(),
            cseq: self.cseq(side),
        }
    }

    /// Goes on where an earlier run stopped.
    pub fn restore(saved: &SavedDialog) -> Dialog {
        let SavedDialog { call_id, caller, callee, record_routes_sent } = saved;
        let routes = |party: &SavedParty| joined(party.routes.iter().map(|route| &*route.0));
        let of_caller = [&*caller.address.0, &caller.tag.0, &caller.target.0, &routes(caller)];
        let of_callee = [&*callee.address.0, &callee.tag.0, &callee.target.0, &routes(callee)];
        Dialog {
            texts: Texts::new(&call_id.0, of_caller, of_callee),
            caller_cseq: caller.cseq,
            callee_cseq: callee.cseq,
            record_routes_sent: *record_routes_sent,
            state: DialogState::Confirmed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    prop_compose! {
        fn party()(
            texts in prop::array::uniform3(any::<Vec<u8>>()),
            routes in prop::collection::vec(any::<Vec<u8>>(), 0..4),
            cseq: Option<u32>,
        ) -> SavedParty {
            let [address, tag, target] = texts.map(|text| Octets::from(&text[..]));
            SavedParty { address, tag, target, routes: routes.iter().map(|route| route[..].into()).collect(), cseq }
        }
    }

    proptest! {
        #[test]
        fn a_dialog_is_read_as_it_was_written(
            call_id: Vec<u8>, caller in party(), callee in party(), record_routes_sent: u32,
        ) {
            let saved = SavedDialog { call_id: call_id[..].into(), caller, callee, record_routes_sent };
            let written = serde_json::to_string(&saved).unwrap();
            let read: SavedDialog = serde_json::from_str(&written).unwrap();
            let dialog = Dialog::restore(&read);
            prop_assert_eq!(dialog.call_id(), &call_id);
            prop_assert_eq!(serde_json::to_string(&dialog.save()).unwrap(), written);
        }
    }
}
