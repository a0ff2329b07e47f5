//! The country of an address, by a GeoIP database in MaxMind's format (GeoLite2, GeoIP2, DB-IP and others).

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use maxminddb::{PathElement, Reader};

use super::country::Country;

/// A database, in memory; clones share it.
#[derive(Clone, Debug)]
pub struct Geo(Places);

#[derive(Clone)]
enum Places {
    Known(Arc<Reader<Vec<u8>>>),
    /// For tests in policy files.
    Everywhere(Country),
}

impl Geo {
    /// From the bytes of an .mmdb file.
    ///
    /// # Errors
    /// Why they are none.
    pub fn new(bytes: Vec<u8>) -> Result<Geo, String> {
        let reader = Reader::from_source(bytes).map_err(|error| error.to_string())?;
        Ok(Geo(Places::Known(Arc::new(reader))))
    }

    /// Puts all addresses into one country, for tests in policy files.
    pub(super) fn everywhere(country: Country) -> Geo {
        Geo(Places::Everywhere(country))
    }

    /// Where `address` is, as far as the database knows.
    pub fn country(&self, address: IpAddr) -> Option<Country> {
        let reader = match &self.0 {
            Places::Known(reader) => reader,
            Places::Everywhere(country) => return Some(*country),
        };
        let found = reader.lookup(address.to_canonical()).ok()?;
        let path = [PathElement::Key("country"), PathElement::Key("iso_code")];
        let code: &str = found.decode_path(&path).ok()??;
        <[u8; 2]>::try_from(code.as_bytes()).ok().map(Country)
    }
}

impl fmt::Debug for Places {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Places::Known(reader) => f.write_str(&reader.metadata().database_type),
            Places::Everywhere(country) => write!(f, "everywhere {country}"),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use ipnetwork::IpNetwork;

    /// A database with these networks: the MaxMind DB file format, version 2.0, with 24-bit records.
    pub(crate) fn database(networks: &[(&str, &str)]) -> Vec<u8> {
        // By node and bit: nothing, the next node, or the data of a network.
        #[derive(Clone, Copy)]
        enum Record {
            Nothing,
            Node(usize),
            Data(usize),
        }
        let mut tree = vec![[Record::Nothing; 2]];
        let mut data = Vec::new();
        for (network, country) in networks {
            let (bits, length) = match network.parse().unwrap() {
                IpNetwork::V4(v4) => (u128::from(v4.network().to_bits()), 96 + v4.prefix()),
                IpNetwork::V6(v6) => (v6.network().to_bits(), v6.prefix()),
            };
            let offset = data.len();
            data.extend([map(1), text("country"), map(1), text("iso_code"), text(country)].concat());
            let mut node = 0;
            for depth in 0..length {
                let bit = usize::from(bits >> (127 - depth) & 1 == 1);
                if depth + 1 == length {
                    tree[node][bit] = Record::Data(offset);
                } else if let Record::Node(next) = tree[node][bit] {
                    node = next;
                } else {
                    tree.push([Record::Nothing; 2]);
                    let next = tree.len() - 1;
                    tree[node][bit] = Record::Node(next);
                    node = next;
                }
            }
        }
        let nodes = tree.len();
        let mut bytes = Vec::new();
        for record in tree.into_iter().flatten() {
            let value = match record {
                Record::Nothing => nodes,
                Record::Node(next) => next,
                Record::Data(offset) => nodes + 16 + offset,
            };
            bytes.extend(&u32::try_from(value).unwrap().to_be_bytes()[1..]);
        }
        bytes.extend([0; 16]);
        bytes.extend(data);
        bytes.extend(b"\xab\xcd\xefMaxMind.com");
        bytes.extend(map(9));
        let number = |value: u16| [vec![0xa2], value.to_be_bytes().to_vec()].concat();
        for (key, value) in [
            ("node_count", [vec![0xc4], u32::try_from(nodes).unwrap().to_be_bytes().to_vec()].concat()),
            ("record_size", number(24)),
            ("ip_version", number(6)),
            ("database_type", text("Test-Country")),
            ("languages", vec![0x00, 0x04]),
            ("binary_format_major_version", number(2)),
            ("binary_format_minor_version", number(0)),
            ("build_epoch", vec![0x01, 0x02, 0x01]),
            ("description", map(0)),
        ] {
            bytes.extend(text(key));
            bytes.extend(value);
        }
        bytes
    }

    fn map(entries: u8) -> Vec<u8> {
        vec![0xe0 | entries]
    }

    fn text(text: &str) -> Vec<u8> {
        let length = u8::try_from(text.len()).unwrap();
        [vec![0x40 | length], text.into()].concat()
    }

    #[test]
    fn an_address_is_where_the_database_says() {
        let bytes = database(&[("192.0.2.0/24", "DE"), ("198.51.100.7/32", "FR"), ("2001:db8::/32", "JP")]);
        let geo = Geo::new(bytes).unwrap();
        let country = |address: &str| geo.country(address.parse().unwrap()).map(|c| c.to_string());
        assert_eq!(country("192.0.2.77").as_deref(), Some("DE"));
        assert_eq!(country("::ffff:192.0.2.77").as_deref(), Some("DE"));
        assert_eq!(country("198.51.100.7").as_deref(), Some("FR"));
        assert_eq!(country("198.51.100.8"), None);
        assert_eq!(country("2001:db8::1").as_deref(), Some("JP"));
        assert_eq!(country("2001:db9::1"), None);
    }

    #[test]
    fn what_is_no_database_is_an_error() {
        assert!(Geo::new(b"<html>Sign in to download".to_vec()).is_err());
        assert!(Geo::new(Vec::new()).is_err());
    }
}
