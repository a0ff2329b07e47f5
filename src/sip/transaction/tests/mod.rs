//! What the machines and the layer promise.

mod layer;
mod tables;
