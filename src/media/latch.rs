//! Latching (RFC 7362), the strict kind of DESIGN.md §4: a leg opens only to the address in its SDP, or, behind NAT,
//! to a source IP that equals the SIP source IP or is allowed by configuration, and only by a packet that is valid
//! RTP of a negotiated payload type. Later strangers are dropped and counted.
