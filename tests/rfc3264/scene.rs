//! A phone outside (side A, over TLS, maybe behind NAT) and a PBX inside (side B) with the edge between them.

use turnpike::edge::settings::Settings;
use turnpike::relay::{LegRules, Side};

use super::play::{hang_up, register};
use super::ua::{self, Leg, answer, body, header, request, response};
use super::world::{Actor, World};

/// Where the phone's SIP comes from, and its media if it is behind no NAT.
pub const PHONE: &str = "192.0.2.7";
pub const PBX: &str = "10.20.0.20";
/// What the phone is shown of the relay.
pub const TO_PHONE: &str = "203.0.113.10";
/// What the PBX is shown of it.
pub const TO_PBX: &str = "10.20.0.5";

/// One call.
pub struct Scene {
    pub world: World,
    pub phone: Actor,
    pub pbx: Actor,
    /// As the phone sent it.
    pub invite: String,
    /// The latest of each side.
    pub last_invite: [String; 2],
    /// As the PBX got it.
    pub seen: String,
    /// As the phone got the last answer.
    pub came: String,
    /// Once there is a dialog.
    pub a: Option<Leg>,
    pub b: Option<Leg>,
}

impl Scene {
    /// The phone has called, and the PBX has the INVITE.
    pub fn ringing(offer: &str) -> Scene {
        Scene::ringing_with(|_| {}, "", offer)
    }

    pub fn ringing_with(change: impl FnOnce(&mut Settings), headers: &str, offer: &str) -> Scene {
        let phone = Actor::tls_phone(1, &format!("{PHONE}:49152"));
        Scene::ringing_between(World::with(change), phone, Actor::pbx(), headers, offer)
    }

    pub fn ringing_between(mut world: World, phone: Actor, pbx: Actor, headers: &str, offer: &str) -> Scene {
        register(&mut world, &phone, "alice");
        let invite = request(&phone, "INVITE", "sip:100@example.com", "alice", headers, offer);
        world.send(&phone, &invite);
        let seen = world.expect(&pbx, "INVITE");
        world.expect(&phone, "SIP/2.0 100");
        Scene {
            world,
            phone,
            pbx,
            last_invite: [invite.clone(), String::new()],
            invite,
            seen,
            came: String::new(),
            a: None,
            b: None,
        }
    }

    /// Answered and acknowledged.
    pub fn established(offer: &str, answer: &str) -> Scene {
        let mut scene = Scene::ringing(offer);
        scene.accept(answer);
        scene
    }

    /// The PBX answers the INVITE with 200, and the phone acknowledges. What the phone is shown.
    pub fn accept(&mut self, answer: &str) -> String {
        self.accept_in("callee", answer, "")
    }

    pub fn accept_in(&mut self, tag: &str, answer: &str, in_ack: &str) -> String {
        let shown = self.respond("200 OK", tag, "", answer);
        self.ask(Side::A, "ACK", in_ack);
        shown
    }

    /// The PBX responds to the INVITE. The body that the phone is shown.
    pub fn respond(&mut self, status: &str, tag: &str, headers: &str, answer: &str) -> String {
        let ours = ua::answer(&self.pbx, &self.seen, status, tag, answer);
        let ours = ours.replacen("\r\nContact", &format!("\r\n{headers}Contact"), 1);
        self.world.send(&self.pbx, &ours);
        self.came = self.world.expect(&self.phone, &format!("SIP/2.0 {}", &status[..3]));
        let cseq = self.a.as_ref().map_or(1, |leg| leg.cseq);
        self.a = Some(Leg { cseq, ..Leg::caller(&self.phone, &self.invite, &self.came) });
        let cseq = self.b.as_ref().map_or(0, |leg| leg.cseq);
        self.b = Some(Leg { cseq, ..Leg::callee(&self.pbx, &self.seen, &ours) });
        body(&self.came).to_owned()
    }

    /// A 183 that wants a PRACK (RFC 3262).
    pub fn respond_reliably(&mut self, tag: &str, answer: &str) -> String {
        self.respond("183 Session Progress", tag, "Require: 100rel\r\nRSeq: 1\r\n", answer)
    }

    pub fn a(&mut self) -> &mut Leg {
        self.a.as_mut().unwrap()
    }

    pub fn b(&mut self) -> &mut Leg {
        self.b.as_mut().unwrap()
    }

    fn ends(&self, from: Side) -> (Actor, Actor) {
        match from {
            Side::A => (self.phone, self.pbx),
            Side::B => (self.pbx, self.phone),
        }
    }

    /// A request in the dialog; as it arrives.
    pub fn ask(&mut self, from: Side, method: &str, sdp: &str) -> String {
        self.ask_in_vain(from, method, sdp);
        let (_, to) = self.ends(from);
        self.world.expect(&to, method)
    }

    /// A request in the dialog that need not arrive.
    pub fn ask_in_vain(&mut self, from: Side, method: &str, sdp: &str) {
        let (sender, _) = self.ends(from);
        let leg = match from {
            Side::A => self.a(),
            Side::B => self.b(),
        };
        let request = leg.request(method, sdp);
        // RFC 3261 §13.2.2.4: an ACK has the number of its INVITE.
        let request = match method {
            "ACK" => {
                let number = header(&self.last_invite[from as usize], "CSeq").replace("INVITE", "ACK");
                request.replace(header(&request, "CSeq"), &number)
            }
            _ => request,
        };
        if method == "INVITE" {
            self.last_invite[from as usize].clone_from(&request);
        }
        self.world.send(&sender, request);
    }

    /// The response to what arrived at the other side of `from`; as it comes back.
    pub fn reply(&mut self, from: Side, asked: &str, status: &str, sdp: &str) -> String {
        let (asker, replier) = self.ends(from);
        let text = match sdp.is_empty() && &status[..1] != "2" {
            true => response(asked, status, "", "", ""),
            false => answer(&replier, asked, status, "", sdp),
        };
        self.world.send(&replier, text);
        self.world.expect(&asker, &format!("SIP/2.0 {}", &status[..3]))
    }

    /// An offer in the dialog and its answer: what either side is shown.
    pub fn agree(&mut self, from: Side, method: &str, offer: &str, answer: &str) -> (String, String) {
        let asked = self.ask(from, method, offer);
        let came = self.reply(from, &asked, "200 OK", answer);
        if method == "INVITE" {
            self.acknowledge(from);
        }
        (body(&asked).to_owned(), body(&came).to_owned())
    }

    /// The ACK of the last INVITE of `from`.
    pub fn acknowledge(&mut self, from: Side) {
        let seen = self.ask(from, "ACK", "");
        assert_eq!(body(&seen), "");
    }

    /// An offer in the dialog that is refused.
    pub fn refuse(&mut self, from: Side, method: &str, offer: &str, status: &str) {
        let asked = self.ask(from, method, offer);
        let came = self.reply(from, &asked, status, "");
        if method == "INVITE" {
            self.acknowledge_failure(from, &asked, &came);
        }
    }

    /// What the end on that side has got.
    pub fn expect_at(&mut self, side: Side, start: &str) -> String {
        let (end, _) = self.ends(side);
        self.world.expect(&end, start)
    }

    /// The ACK of a failure that was our own.
    pub fn acknowledge_ours(&mut self, from: Side, came: &str) {
        let (asker, _) = self.ends(from);
        let number = header(came, "CSeq").split(' ').next().unwrap();
        self.world.send(&asker, ua::ack_of(came).replace("CSeq: 1 ", &format!("CSeq: {number} ")));
    }

    /// The phone cancels its INVITE that the PBX got as `seen`, and that is over.
    pub fn cancel(&mut self, seen: &str) {
        let invite = self.last_invite[0].clone();
        self.world.send(&self.phone, ua::cancel_of(&invite));
        self.expect_at(Side::A, "SIP/2.0 200");
        self.terminate(seen);
        self.expect_at(Side::A, "SIP/2.0 487");
    }

    /// The PBX ends an INVITE that we cancel.
    pub fn terminate(&mut self, seen: &str) {
        // To an INVITE without a provisional response no CANCEL may go (RFC 3261 §9.1).
        self.world.send(&self.pbx, response(seen, "100 Trying", "", "", ""));
        let cancel = self.world.expect(&self.pbx, "CANCEL");
        self.world.send(&self.pbx, response(&cancel, "200 OK", "", "", ""));
        self.world.send(&self.pbx, response(seen, "487 Request Terminated", "t", "", ""));
        self.world.expect(&self.pbx, "ACK");
    }

    /// Hop by hop: ours to who refused, the asker's to us.
    pub fn acknowledge_failure(&mut self, from: Side, asked: &str, came: &str) {
        let (asker, replier) = self.ends(from);
        let ack = self.world.expect(&replier, "ACK");
        assert_eq!(header(&ack, "CSeq").split(' ').next(), header(asked, "CSeq").split(' ').next());
        let number = header(came, "CSeq").split(' ').next().unwrap();
        let ack = ua::ack_of(came).replace("CSeq: 1 ", &format!("CSeq: {number} "));
        self.world.send(&asker, ack);
    }

    /// What the relay was told of the open pairs, in the order of their opening: side A's, side B's.
    pub fn rules(&self) -> Vec<(LegRules, LegRules)> {
        let ports = self.world.ports.lock().unwrap();
        let mut open: Vec<_> = ports.open.keys().copied().collect();
        open.sort_by_key(|pair| pair.0);
        open.iter()
            .map(|pair| (ports.rules[&(*pair, true)].clone(), ports.rules[&(*pair, false)].clone()))
            .collect()
    }

    pub fn pairs(&self) -> usize {
        self.world.status().relay.pairs
    }

    /// Where the relay sends what comes from the other side, first pair.
    pub fn media_goes_to(&self, side: Side) -> Option<String> {
        let rules = self.rules();
        let (a, b) = rules.first()?;
        let to = if side == Side::A { a.rtp } else { b.rtp };
        to.map(|to| to.to_string())
    }

    /// The phone hangs up, and nothing is left.
    pub fn end(mut self) -> World {
        let mut leg = self.a.take().unwrap();
        let pbx = self.pbx;
        hang_up(&mut self.world, &mut leg, &pbx);
        assert_eq!(self.pairs(), 0);
        self.world.assert_clean();
        self.world
    }
}

/// SDP of `host` with these sections (`\n` for line ends).
pub fn session(host: &str, sections: &str) -> String {
    super::session(host, sections)
}

pub fn audio(host: &str, port: u16) -> String {
    session(host, &format!("m=audio {port} RTP/AVP 0 101\na=rtpmap:101 telephone-event/8000\n"))
}

/// The body as the other side must see it: `c=` and the ports of `m=` that are not 0, in order, become these; and so does
/// the PBX's own address in `o=`, which does not leave a zone of `trust: full`.
pub fn shown(body: &str, ip: &str, ports: &[u16]) -> String {
    let mut ports = ports.iter();
    let family = if ip.contains(':') { 6 } else { 4 };
    let line = |line: &str| {
        if line.starts_with("o=") && line.contains(" 10.20.0.") {
            return format!("o=- 1 1 IN IP{family} {ip}\r\n");
        }
        if line.starts_with("c=") {
            return format!("c=IN IP{family} {ip}\r\n");
        }
        let mut fields: Vec<String> = line.split(' ').map(str::to_owned).collect();
        if line.starts_with("m=") && fields[1] != "0" {
            fields[1] = ports.next().unwrap().to_string();
        }
        fields.join(" ") + "\r\n"
    };
    body.lines().map(line).collect()
}
