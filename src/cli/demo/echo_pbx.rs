//! The PBX behind the demo's edge: accepts every registration, answers every call, and sends back what it hears.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rsip::headers::UntypedHeader;
use rsip::message::HeadersExt;

use super::sip;

/// Runs until it is dropped.
pub(super) struct EchoPbx {
    /// Its SIP address (UDP).
    pub address: SocketAddr,
    /// Its RTP address, which every call shares.
    pub media: SocketAddr,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl EchoPbx {
    /// Binds its sockets, on `sip` if that port is free, and answers from then on.
    pub fn start(sip: SocketAddr) -> io::Result<EchoPbx> {
        let signalling = UdpSocket::bind(sip).or_else(|_| UdpSocket::bind((sip.ip(), 0)))?;
        let media = UdpSocket::bind((sip.ip(), 0))?;
        let stop = Arc::new(AtomicBool::new(false));
        let (address, media_address) = (signalling.local_addr()?, media.local_addr()?);
        let threads = vec![
            serve(signalling, stop.clone(), move |bytes| answer(bytes, address, media_address)),
            serve(media, stop.clone(), |bytes| Some(bytes.to_vec())),
        ];
        Ok(EchoPbx { address, media: media_address, stop, threads })
    }
}

impl Drop for EchoPbx {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Answers each datagram with what `reply` makes of it.
fn serve(
    socket: UdpSocket,
    stop: Arc<AtomicBool>,
    reply: impl Fn(&[u8]) -> Option<Vec<u8>> + Send + 'static,
) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut buffer = vec![0; 65_536];
        // Without a time-out it could not be stopped; a socket that refuses one is no reason to panic.
        let _ = socket.set_read_timeout(Some(Duration::from_millis(100)));
        while !stop.load(Ordering::Relaxed) {
            let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
            if let Some(answer) = reply(&buffer[..length]) {
                let _ = socket.send_to(&answer, from);
            }
        }
    })
}

fn answer(bytes: &[u8], here: SocketAddr, media: SocketAddr) -> Option<Vec<u8>> {
    let request = rsip::Request::try_from(bytes).ok()?;
    let contact = format!("<sip:echo@{here}>");
    let (status, contact, body) = match request.method {
        rsip::Method::Ack => return None,
        rsip::Method::Register => {
            (200, request.contact_header().ok().map(|c| c.value().to_owned()), Vec::new())
        }
        rsip::Method::Invite => (200, Some(contact), sip::describe("echo", media).into_bytes()),
        rsip::Method::Bye | rsip::Method::Options | rsip::Method::Cancel => (200, None, Vec::new()),
        _ => (501, None, Vec::new()),
    };
    sip::respond(&request, status, "echo", contact, body).ok()
}
