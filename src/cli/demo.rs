//! `turnpike demo`: a whole edge on this machine, an echo PBX behind it, and a phone that calls through it over TLS.

mod echo_pbx;
mod phone;
mod place;
mod report;
mod sip;
mod talk;

use std::net::UdpSocket;
use std::process::ExitCode;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::edge::event::{Cdr, Event, LadderMessage};
use crate::net::{Node, NodeSettings};
use echo_pbx::EchoPbx;
use phone::Phone;
use place::Place;
use report::Report;

/// Three seconds of audio.
const PACKETS: usize = 150;
/// Packets that measure the way without the edge, for comparison.
const DIRECT_PACKETS: usize = 50;

/// Arguments of `turnpike demo`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Stop after the call; the exit code says whether audio went both ways
    #[arg(long)]
    pub once: bool,
}

/// Why the demo could not be given.
type Failure = Box<dyn std::error::Error>;

/// Runs it.
pub fn run(args: Args) -> ExitCode {
    match demo(&args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => super::fail("audio did not go both ways"),
        Err(why) => super::fail(why),
    }
}

/// True if audio went both ways.
fn demo(args: &Args) -> Result<bool, Failure> {
    let place = Place::make()?;
    let pbx = EchoPbx::start(place.pbx)?;
    let (config, policies) =
        super::run::read(&place.config(pbx.address)?, None).map_err(|report| report.to_string())?;
    let node = Node::start(NodeSettings::new(config, policies)?)?;
    let report = one_call(&node, &pbx, &place)?;
    print!("{report}");
    if !args.once {
        stay(&node)?;
    }
    node.shutdown(Duration::ZERO);
    Ok(report.audio_both_ways())
}

fn one_call(node: &Node, pbx: &EchoPbx, place: &Place) -> Result<Report, Failure> {
    let events = node.subscribe(true)?;
    let edge = node.listener("phones_tls").ok_or("config/demo.yaml has no listener phones_tls")?;
    let certificate = CertificateDer::from_pem_file(place.certificate())?;
    let mut phone = Phone::connect(edge, certificate)?;
    phone.register()?;
    let call = phone.call(PACKETS)?;
    let direct = talk::talk(&UdpSocket::bind((edge.ip(), 0))?, pbx.media, DIRECT_PACKETS)?;
    let (ladder, cdr) = everything_told(&events)?;
    Ok(Report { edge, pbx: pbx.address, ladder, call, direct, cdr })
}

/// The messages of the call and its CDR: all there by now, since the talk without the edge came after it.
fn everything_told(events: &Receiver<Event>) -> Result<(Vec<LadderMessage>, Cdr), Failure> {
    let mut ladder = Vec::new();
    let mut ended = None;
    for event in events.try_iter() {
        match event {
            Event::Message(message) => ladder.push(*message),
            Event::CallEnded(cdr) => ended = Some(*cdr),
            _ => {}
        }
    }
    Ok((ladder, ended.ok_or("the edge wrote no CDR")?))
}

/// Keeps the edge up for a softphone until Ctrl-C.
fn stay(node: &Node) -> Result<(), Failure> {
    let address =
        |name: &str| node.listener(name).map_or_else(|| "(not listening)".into(), |a| a.to_string());
    println!("\nThe edge stays up. Point your own softphone on this machine at it:");
    println!("  account    sip:201@127.0.0.1, any password (the echo PBX asks for none)");
    println!("  TLS        {}, certificate not verified (it is self-signed)", address("phones_tls"));
    println!("  or UDP     {}", address("phones_udp"));
    println!("  then call  600 and hear yourself through the relay.");
    println!("Ctrl-C ends it.");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(tokio::signal::ctrl_c())?)
}
