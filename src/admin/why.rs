//! `GET /calls/{call_id}/why`: its JSON is an interface; that of a decision is written down in `policy::explain`.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::policy::explain::Explanation;

/// What policy decided about a call.
#[allow(missing_docs)]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WhyReport {
    pub node: String,
    pub call_id: String,
    /// Oldest first: a challenged INVITE comes twice, and a call can be hung up. Empty: the call is not known, or too long
    /// ago.
    pub decisions: Vec<Explanation>,
}

impl fmt::Display for WhyReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let WhyReport { node, call_id, decisions } = self;
        if decisions.is_empty() {
            return writeln!(
                f,
                "{node} knows nothing of a call {call_id}: it keeps the last 10000 of those who may call, and the last 2000 \
                 of strangers, since its start"
            );
        }
        for (index, decision) in decisions.iter().enumerate() {
            write!(f, "{}{decision}", if index > 0 { "\n" } else { "" })?;
        }
        Ok(())
    }
}
