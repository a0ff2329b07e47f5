//! A folder of the demo's own with the shipped config and policies in it, on ports that are free.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::PathBuf;

const CONFIG: &str = include_str!("../../../config/demo.yaml");
const POLICIES: [(&str, &str); 5] = [
    ("toll-fraud.yaml", include_str!("../../../policies/toll-fraud.yaml")),
    ("scanners.yaml", include_str!("../../../policies/scanners.yaml")),
    ("floods.yaml", include_str!("../../../policies/floods.yaml")),
    ("rates/example.csv", include_str!("../../../policies/rates/example.csv")),
    ("lists/premium-and-satellite.txt", include_str!("../../../policies/lists/premium-and-satellite.txt")),
];
const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Where config/demo.yaml expects the echo PBX.
const PBX_PORT: u16 = 5080;

/// Removed when dropped.
pub(super) struct Place {
    folder: PathBuf,
    /// Where the echo PBX should listen, if it can.
    pub pbx: SocketAddr,
}

impl Place {
    /// Writes the policies.
    pub fn make() -> io::Result<Place> {
        let folder = std::env::temp_dir().join(format!("turnpike-demo-{}", std::process::id()));
        let place = Place { folder, pbx: SocketAddr::new(LOCALHOST, PBX_PORT) };
        fs::create_dir_all(place.folder.join("policies/lists"))?;
        fs::create_dir_all(place.folder.join("policies/rates"))?;
        fs::create_dir_all(place.folder.join("config"))?;
        for (name, text) in POLICIES {
            fs::write(place.folder.join("policies").join(name), text)?;
        }
        Ok(place)
    }

    /// Writes the config, with every port that is taken on this machine replaced by a free one.
    pub fn config(&self, pbx: SocketAddr) -> io::Result<PathBuf> {
        let mut text = CONFIG.replace(&format!("127.0.0.1:{PBX_PORT}"), &pbx.to_string());
        for (scheme, is_free) in [
            ("tls://", tcp_is_free as fn(SocketAddr) -> bool),
            ("udp://", udp_is_free),
            ("listen: \"", tcp_is_free),
        ] {
            text = free_ports(&text, &format!("{scheme}127.0.0.1:"), is_free);
        }
        let path = self.folder.join("config/demo.yaml");
        fs::write(&path, text)?;
        Ok(path)
    }

    /// The certificate that the edge made for itself on start.
    pub fn certificate(&self) -> PathBuf {
        self.folder.join("config/demo-data/certificates/demo.pem")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Port 0 (the kernel picks one) for each port behind `prefix` that is not free.
fn free_ports(text: &str, prefix: &str, is_free: impl Fn(SocketAddr) -> bool) -> String {
    let mut parts = text.split(prefix);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let digits = part.chars().take_while(char::is_ascii_digit).count();
        let (port, rest) = part.split_at(digits);
        let free = port.parse().is_ok_and(|port| is_free(SocketAddr::new(LOCALHOST, port)));
        out.push_str(prefix);
        out.push_str(if free { port } else { "0" });
        out.push_str(rest);
    }
    out
}

fn tcp_is_free(address: SocketAddr) -> bool {
    TcpListener::bind(address).is_ok()
}

fn udp_is_free(address: SocketAddr) -> bool {
    UdpSocket::bind(address).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_is_taken_is_replaced() {
        let text = "a: \"udp://127.0.0.1:5060\"\nb: \"udp://127.0.0.1:5070\"\n";
        let taken = free_ports(text, "udp://127.0.0.1:", |address| address.port() != 5060);
        assert_eq!(taken, "a: \"udp://127.0.0.1:0\"\nb: \"udp://127.0.0.1:5070\"\n");
    }
}
