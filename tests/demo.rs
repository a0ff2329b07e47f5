//! The README's first promise: `turnpike demo --once` places a real call through the relay and exits 0.

use std::process::Command;

#[test]
fn the_demo_carries_audio_both_ways() {
    let output =
        Command::new(env!("CARGO_BIN_EXE_turnpike")).args(["demo", "--once"]).output().expect("it runs");
    let shown = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{shown}\n{complained}");
    for part in ["REGISTER", "INVITE + SDP", "200 OK + SDP", "BYE", "relayed PBX → phone"] {
        assert!(shown.contains(part), "{part:?} is missing in\n{shown}");
    }
}
