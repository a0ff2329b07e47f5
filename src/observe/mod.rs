//! What happened, told to people and machines: log lines, metrics, CDRs, ladders.
