//! Allocate (RFC 8656 §7.2).

use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::RngExt;
use smallvec::{SmallVec, smallvec};

use super::{Due, Output, Server};
use crate::stun::{ErrorCode, Family, TransactionId};
use crate::turn::FiveTuple;
use crate::turn::allocation::{Allocation, Birth, granted_lifetime};
use crate::turn::channel::Channels;
use crate::turn::forward::{Lane, Relayed, Row};
use crate::turn::permission::Permissions;
use crate::turn::quota::{Full, ReservationToken, Role};
use crate::turn::request::Wanted;
use crate::turn::rules::Leave;
use crate::turn::sockets::{OpenError, Opened, Port, RelaySocket, RelaySockets};

/// RFC 8656 §7.2: a reserved address is kept for at least 30 seconds.
const RESERVED_FOR: Duration = Duration::from_secs(30);

/// Who asks, and for what.
pub(super) struct Asked {
    pub client: FiveTuple,
    pub transaction: TransactionId,
    pub user: Arc<str>,
    pub role: Arc<Role>,
    /// How long their credentials are good.
    pub left: Option<Duration>,
    /// From the node's rules.
    pub leave: Option<Box<dyn Leave>>,
}

/// Relayed sockets that were opened for a new allocation.
struct Found {
    sockets: SmallVec<[RelaySocket; 2]>,
    reserved: Option<RelaySocket>,
    refused: Option<(Family, ErrorCode)>,
}

impl From<OpenError> for ErrorCode {
    fn from(error: OpenError) -> ErrorCode {
        match error {
            OpenError::Family => ErrorCode::ADDRESS_FAMILY_NOT_SUPPORTED,
            OpenError::PortsExhausted => ErrorCode::INSUFFICIENT_CAPACITY,
        }
    }
}

impl<S: RelaySockets> Server<S> {
    /// RFC 8656 §7.2: who has an allocation gets no second, but the same answer if it is the same request again.
    pub(super) fn allocated_before(&self, asked: &Asked) -> Option<Result<usize, ErrorCode>> {
        let slot = *self.by_client.get(&asked.client)?;
        let same = self.allocations.get(slot).is_some_and(|allocation| {
            allocation.birth.transaction == asked.transaction && allocation.user == asked.user
        });
        Some(if same { Ok(slot) } else { Err(ErrorCode::ALLOCATION_MISMATCH) })
    }

    /// Makes an allocation; its slot.
    pub(super) fn allocate(
        &mut self,
        asked: Asked,
        wanted: Wanted,
        lifetime: Option<Duration>,
        now: Instant,
    ) -> Result<usize, ErrorCode> {
        // RFC 6062 §5.1: 403 if it is not allowed, 400 if it does not come over TCP or TLS.
        if wanted.is_tcp() && !asked.role.tcp {
            return Err(ErrorCode::FORBIDDEN);
        }
        if wanted.is_tcp() && !asked.client.is_stream() {
            return Err(ErrorCode::BAD_REQUEST);
        }
        // RFC 8656 §7.2: a server that is leaving sends new clients elsewhere.
        if self.alternates.is_some() {
            let alternate = self.alternate(asked.client);
            return Err(alternate.map_or(ErrorCode::INSUFFICIENT_CAPACITY, |_| ErrorCode::TRY_ALTERNATE));
        }
        let found = match wanted {
            Wanted::One(family, port) => self.open_one(&asked, family, port)?,
            Wanted::Both(port) => self.open_both(&asked, port)?,
            Wanted::Reserved(token) => self.open_reserved(&asked, token)?,
        };
        let token = found.reserved.map(|socket| self.reserve(&asked.user, socket, now));
        let lifetime = granted_lifetime(lifetime, &asked.role, asked.left);
        let birth = Birth { transaction: asked.transaction, lifetime, token, refused: found.refused };
        Ok(self.insert(asked, wanted.is_tcp(), &found.sockets, birth, now))
    }

    fn insert(
        &mut self,
        asked: Asked,
        tcp: bool,
        sockets: &[RelaySocket],
        birth: Birth,
        now: Instant,
    ) -> usize {
        let Asked { client, user, role, leave, .. } = asked;
        let expires = now + birth.lifetime;
        let row = Row {
            client,
            relayed: sockets.iter().map(|socket| Relayed { socket: *socket, expires }).collect(),
            permissions: Permissions::default(),
            channels: Channels::default(),
            to_peers: Lane::new(role.bandwidth),
            to_client: Lane::new(role.bandwidth),
        };
        let relayed = sockets.iter().map(|socket| socket.addr).collect();
        self.outputs.push_back(Output::Allocated { user: user.clone(), client, relayed });
        let slot = self.allocations.insert(Allocation {
            row,
            user,
            role,
            tcp,
            connections: SmallVec::new(),
            birth,
            leave,
            reading: None,
            timer: None,
        });
        self.counters.allocations.add(1);
        self.by_client.insert(client, slot);
        self.by_socket.extend(sockets.iter().map(|socket| (socket.id, slot)));
        self.arm(slot);
        self.begin_readings(slot, now);
        slot
    }

    fn open_one(&mut self, asked: &Asked, family: Family, port: Port) -> Result<Found, ErrorCode> {
        let count = if port == Port::EvenAndNext { 2 } else { 1 };
        self.book(asked, count)?;
        let opened =
            self.sockets.open(asked.client, family, port).map_err(ErrorCode::from).and_then(|opened| {
                if opened.reserved.is_some() == (port == Port::EvenAndNext) {
                    return Ok(opened);
                }
                self.sockets.close(opened.socket.id);
                Err(ErrorCode::INSUFFICIENT_CAPACITY)
            });
        match opened {
            Ok(Opened { socket, reserved }) => {
                Ok(Found { sockets: smallvec![socket], reserved, refused: None })
            }
            Err(code) => {
                self.books.give_back(&asked.user, count);
                Err(code)
            }
        }
    }

    /// RFC 8656 §7.2, ADDITIONAL-ADDRESS-FAMILY: one of the two is enough; ADDRESS-ERROR-CODE tells of the other.
    fn open_both(&mut self, asked: &Asked, port: Port) -> Result<Found, ErrorCode> {
        self.book(asked, 2)?;
        let mut found = Found { sockets: SmallVec::new(), reserved: None, refused: None };
        let mut first_error = None;
        for family in [Family::V4, Family::V6] {
            match self.sockets.open(asked.client, family, port) {
                Ok(opened) => found.sockets.push(opened.socket),
                Err(error) => {
                    self.books.give_back(&asked.user, 1);
                    found.refused = Some((family, error.into()));
                    first_error = first_error.or(Some(error.into()));
                }
            }
        }
        match first_error {
            Some(code) if found.sockets.is_empty() => Err(code),
            _ => Ok(found),
        }
    }

    /// RFC 8656 §7.2: a token that is no good is 508. The address has been booked since it was reserved.
    fn open_reserved(&mut self, asked: &Asked, token: ReservationToken) -> Result<Found, ErrorCode> {
        let reserved = self.books.redeem(token, &asked.user).ok_or(ErrorCode::INSUFFICIENT_CAPACITY)?;
        match self.sockets.open_reserved(reserved) {
            Ok(socket) => Ok(Found { sockets: smallvec![socket], reserved: None, refused: None }),
            Err(_) => {
                self.books.give_back(&asked.user, 1);
                Err(ErrorCode::INSUFFICIENT_CAPACITY)
            }
        }
    }

    fn reserve(&mut self, user: &Arc<str>, socket: RelaySocket, now: Instant) -> ReservationToken {
        let token = self.rng.random();
        self.books.reserve(token, user.clone(), socket);
        self.timers.set(now + RESERVED_FOR, Due::Reservation(token));
        token
    }

    fn book(&self, asked: &Asked, count: usize) -> Result<(), ErrorCode> {
        self.books.take(&asked.user, count, asked.role.allocations).map_err(|full| match full {
            Full::User => ErrorCode::ALLOCATION_QUOTA_REACHED,
            Full::Node => ErrorCode::INSUFFICIENT_CAPACITY,
        })
    }
}
