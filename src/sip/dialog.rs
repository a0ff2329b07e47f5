//! Dialogs (RFC 3261 §12) seen from the middle: what a proxy must know to follow, and if need be to end, both legs.
