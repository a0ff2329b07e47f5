//! Runs each scenario of `scenarios/` against the binary of this build. They need root (network namespaces) and the
//! peers that `make tools` installs; where those are missing they fail and say so.

use std::path::Path;
use std::process::Command;

fn scenario(name: &str) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios").join(name).join("run.sh");
    let output = Command::new("bash")
        .arg(&script)
        .env("TURNPIKE", env!("CARGO_BIN_EXE_turnpike"))
        .output()
        .expect("bash runs");
    let (said, complained) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    println!("{said}");
    assert!(output.status.success(), "{name} failed\n{said}\n{complained}");
}

#[test]
fn s010_phone_over_tls() {
    scenario("010-phone-over-tls");
}

#[test]
fn s020_carrier_trunk() {
    scenario("020-carrier-trunk");
}

#[test]
fn s030_pbx_down() {
    scenario("030-pbx-down");
}

#[test]
fn s035_coturn_clients() {
    scenario("035-coturn-clients");
}

#[test]
fn s040_turn_over_tls_udp_blocked() {
    scenario("040-turn-over-tls-udp-blocked");
}

#[test]
fn s045_browser_over_wss() {
    scenario("045-browser-over-wss");
}

#[test]
fn s050_browser_to_plain_pbx() {
    scenario("050-browser-to-plain-pbx");
}

#[test]
fn s060_ice_behind_symmetric_nat() {
    scenario("060-ice-behind-symmetric-nat");
}

#[test]
fn s070_browser_udp_blocked() {
    scenario("070-browser-udp-blocked");
}

#[test]
fn s080_srtp_phone_rtp_trunk() {
    scenario("080-srtp-phone-rtp-trunk");
}

#[test]
fn s090_hold_and_transfer() {
    scenario("090-hold-and-transfer");
}

#[test]
fn s100_rtp_bleed_and_inject() {
    scenario("100-rtp-bleed-and-inject");
}

#[test]
fn s110_carrier_dies() {
    scenario("110-carrier-dies");
}

#[test]
fn s120_registration_trunk() {
    scenario("120-registration-trunk");
}

#[test]
fn s130_many_phones() {
    scenario("130-many-phones");
}

#[test]
fn s140_scanners() {
    scenario("140-scanners");
}

#[test]
fn s150_located_carrier() {
    scenario("150-located-carrier");
}

#[test]
fn s160_lossy_network() {
    scenario("160-lossy-network");
}

#[test]
fn s200_stolen_password() {
    scenario("200-stolen-password");
}

#[test]
fn s210_flood() {
    scenario("210-flood");
}

#[test]
fn s220_restart() {
    scenario("220-restart");
}
