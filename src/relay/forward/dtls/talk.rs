//! One association of a leg, and with whom.
#![deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used)]

use std::net::SocketAddr;
use std::time::Instant;

use super::{Place, Terms};
use crate::media::dtls::{Association, Certificate, Keys, Role};
use crate::media::srtp::Suite;

/// What tells one ClientHello from another.
type Random = [u8; 32];

/// A ClientHello, or a part of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ClientHello {
    /// Its first part has it.
    random: Option<Random>,
}

impl ClientHello {
    /// RFC 6347 §4.1, §4.2.2: a record of type 22 in epoch 0, a message of type 1.
    pub fn read(packet: &[u8]) -> Option<ClientHello> {
        let (record, message) = packet.split_first_chunk::<13>()?;
        let [22, _, _, 0, 0, ..] = record else { return None };
        let (header, body) = message.split_first_chunk::<12>()?;
        let [1, _, _, _, _, _, offset @ .., _, _, _] = header else { return None };
        let random = body.get(2..).and_then(|rest| rest.first_chunk()).copied();
        Some(ClientHello { random: random.filter(|_| *offset == [0; 3]) })
    }
}

/// An association with an endpoint.
#[derive(Debug)]
pub(super) struct Talk {
    /// `None`: it ended with the node's last life, and its keys are what is left of it.
    pub association: Option<Association>,
    /// Whom we hear in it.
    pub peer: SocketAddr,
    /// Once it has come to them.
    pub keys: Option<Keys>,
    /// While it shakes hands.
    pub place: Option<Place>,
    /// With what a client began it.
    hello: Option<Random>,
}

impl Talk {
    /// As the client.
    pub fn begin(
        certificate: &Certificate,
        terms: &Terms,
        peer: SocketAddr,
        place: Place,
        now: Instant,
    ) -> Talk {
        Talk::with(Association::new(certificate, Role::Client, &Suite::ALL, now), terms, peer, place)
    }

    /// As the server of a peer that has shown, or not, that it is where its packets say.
    pub fn answer(
        certificate: &Certificate,
        terms: &Terms,
        peer: SocketAddr,
        is_proved: bool,
        place: Place,
        now: Instant,
    ) -> Talk {
        let association = if is_proved {
            Association::new(certificate, Role::Server, &Suite::ALL, now)
        } else {
            Association::wary(certificate, &Suite::ALL, now)
        };
        Talk::with(association, terms, peer, place)
    }

    fn with(mut association: Association, terms: &Terms, peer: SocketAddr, place: Place) -> Talk {
        if !terms.fingerprints.is_empty() {
            association.expect(terms.fingerprints.iter().cloned());
        }
        Talk { association: Some(association), peer, keys: None, place: Some(place), hello: None }
    }

    /// It has come to these keys before a restart. The peer knows of none, and goes on.
    pub fn resume(peer: SocketAddr, keys: Keys) -> Talk {
        Talk { association: None, peer, keys: Some(keys), place: None, hello: None }
    }

    /// A DTLS packet of the peer.
    pub fn take(&mut self, packet: &[u8], hello: Option<ClientHello>, now: Instant) {
        self.hello = self.hello.or(hello.and_then(|hello| hello.random));
        if let Some(association) = &mut self.association {
            association.handle_packet(packet, now);
        }
    }

    /// True if `hello` is not this association's but begins another (RFC 6347 §4.2.8). While nobody has latched, who speaks
    /// from elsewhere may be the endpoint, too.
    pub fn is_renewed_by(&self, hello: &ClientHello, source: SocketAddr, unlatched: bool) -> bool {
        let is_another = self.hello.zip(hello.random).is_some_and(|(old, new)| old != new);
        let is_over = self.association.as_ref().is_none_or(Association::is_over);
        is_another || is_over || (unlatched && source != self.peer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_hello_is_known_by_its_random() {
        let record = |epoch, message, offset| {
            let mut packet = vec![22, 0xfe, 0xfd, 0, epoch, 0, 0, 0, 0, 0, 0, 0, 60];
            packet.extend([message, 0, 0, 80, 0, 0, 0, 0, offset, 0, 0, 48, 0xfe, 0xfd]);
            packet.resize(13 + 60, 7);
            packet
        };
        assert_eq!(ClientHello::read(&record(0, 1, 0)), Some(ClientHello { random: Some([7; 32]) }));
        assert_eq!(ClientHello::read(&record(0, 1, 48)), Some(ClientHello { random: None }));
        assert_eq!(ClientHello::read(&record(0, 2, 0)), None, "a ServerHello");
        assert_eq!(ClientHello::read(&record(1, 1, 0)), None, "encrypted");
        assert_eq!(ClientHello::read(&record(0, 1, 0)[..40]), Some(ClientHello { random: None }), "cut");
        assert_eq!(ClientHello::read(&record(0, 1, 0)[..20]), None);
    }
}
