//! The admin listener: metrics and status over HTTP.
