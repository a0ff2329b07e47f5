//! A connection's task: accepts or opens it, shakes hands, cuts what arrives into messages, writes what is queued.

use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::connections::{Next, Signals};
use super::places::Place;
use super::settings::ListenerWeb;
use super::shard::Shard;
use super::{tls, web};
use crate::base::{FlowId, ListenerId};
use crate::sip::framing::Framer;

/// Room that a read is given: most messages fit, and a connection that waits for one holds no more.
const READ: usize = 1_024;
/// Room for the next read where one was full.
const BURST: usize = 16 * 1_024;
/// A write buffer that grew beyond it is not kept.
const KEPT: usize = 64 * 1024;
/// How long a peer whose connection we close may take to read our last words.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How a connection ended.
#[derive(Debug)]
pub(super) enum End {
    /// In order: the peer closed it, or we did.
    Closed,
    /// It could not be opened, or broke.
    Failed(io::Error),
}

/// Accepts connections for ever.
pub(super) async fn accept(
    shard: Rc<RefCell<Shard>>,
    listener: ListenerId,
    socket: TcpListener,
    tls: Option<TlsAcceptor>,
    web: Option<Rc<ListenerWeb>>,
) {
    loop {
        match socket.accept().await {
            Ok((stream, remote)) => {
                let place = shard.borrow_mut().admit_connection(listener, remote);
                if let Some(place) = place {
                    tokio::task::spawn_local(accepted(
                        shard.clone(),
                        listener,
                        stream,
                        remote,
                        tls.clone(),
                        web.clone(),
                        place,
                    ));
                }
            }
            Err(error) => {
                // Out of file descriptors, mostly: connections that end will free some.
                tracing::warn!(%error, "cannot accept a connection; raise `ulimit -n` if this goes on");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn accepted(
    shard: Rc<RefCell<Shard>>,
    listener: ListenerId,
    stream: TcpStream,
    remote: SocketAddr,
    tls: Option<TlsAcceptor>,
    web: Option<Rc<ListenerWeb>>,
    _place: Place,
) {
    let _ = stream.set_nodelay(true);
    match tls {
        None => serve(&shard, listener, remote, stream, web, &[]).await,
        Some(acceptor) => {
            let patience = shard.borrow().patience().handshake;
            match within(patience, "TLS handshake", acceptor.accept(stream)).await {
                Ok(stream) => {
                    let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
                    let names = shown.map(tls::names).unwrap_or_default();
                    serve(&shard, listener, remote, stream, web, &names).await;
                }
                Err(error) => shard.borrow_mut().handle_bad_handshake(listener, remote, &error),
            }
        }
    }
}

/// Runs a connection over which SIP is spoken, or WebSocket first. `names`: those of the certificate that the client has shown.
async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    shard: &Rc<RefCell<Shard>>,
    listener: ListenerId,
    remote: SocketAddr,
    stream: S,
    web: Option<Rc<ListenerWeb>>,
    names: &[String],
) {
    if let Some(settings) = web {
        return web::serve(shard, listener, remote, stream, &settings).await;
    }
    let (flow, signals) = shard.borrow_mut().handle_accepted(listener, remote, names);
    follow(shard, flow, &signals, converse(shard, flow, &signals, stream)).await;
}

/// What it takes to open a connection.
pub(super) struct Opening {
    pub remote: SocketAddr,
    /// Our address to call from, if the listener is bound to one.
    pub local: Option<IpAddr>,
    pub tls: Option<tls::Client>,
}

/// Opens a connection that already stands in the table, and runs it.
pub(super) async fn open(
    shard: Rc<RefCell<Shard>>,
    flow: FlowId,
    signals: Rc<Signals>,
    opening: Opening,
    _place: Place,
) {
    let patience = *shard.borrow().patience();
    let conversation = async {
        let connecting = connect(opening.remote, opening.local);
        let stream = match within(patience.connect, "connecting", connecting).await {
            Ok(stream) => stream,
            Err(error) => return End::Failed(error),
        };
        let _ = stream.set_nodelay(true);
        let Some(client) = opening.tls else { return converse(&shard, flow, &signals, stream).await };
        let handshake = TlsConnector::from(client.config).connect(client.server_name, stream);
        match within(patience.handshake, "TLS handshake", handshake).await {
            Ok(stream) => converse(&shard, flow, &signals, stream).await,
            Err(error) => End::Failed(error),
        }
    };
    follow(&shard, flow, &signals, conversation).await;
}

async fn connect(remote: SocketAddr, local: Option<IpAddr>) -> io::Result<TcpStream> {
    let socket = if remote.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    if let Some(local) = local.filter(|local| local.is_ipv4() == remote.is_ipv4()) {
        socket.bind(SocketAddr::new(local, 0))?;
    }
    socket.connect(remote).await
}

pub(super) async fn within<T>(
    patience: Duration,
    what: &str,
    work: impl Future<Output = io::Result<T>>,
) -> io::Result<T> {
    let late = || io::Error::new(io::ErrorKind::TimedOut, format!("{what} took longer than {patience:?}"));
    timeout(patience, work).await.unwrap_or_else(|_| Err(late()))
}

/// Runs a connection until it ends or is cut off, and reports it gone.
pub(super) async fn follow(
    shard: &Rc<RefCell<Shard>>,
    flow: FlowId,
    signals: &Signals,
    conversation: impl Future<Output = End>,
) {
    tokio::select! {
        () = signals.cut.notified() => {}
        end = conversation => shard.borrow_mut().handle_ended(flow, end),
    }
}

/// Reads and writes at the same time: a peer that only reads when it has written must not be waited for.
async fn converse<S: AsyncRead + AsyncWrite>(
    shard: &Rc<RefCell<Shard>>,
    flow: FlowId,
    signals: &Signals,
    stream: S,
) -> End {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let (read, written) = (read(shard, flow, &mut reader), write(shard, flow, signals, &mut writer));
    let outcome = tokio::select! {
        outcome = read => outcome,
        outcome = written => outcome,
    };
    match outcome {
        Ok(()) => {
            // Whoever is still sending would be told "reset" instead of our last words: let it read them first.
            let _ = timeout(LAST_WORDS, async {
                writer.shutdown().await?;
                tokio::io::copy(&mut reader, &mut tokio::io::sink()).await
            })
            .await;
            End::Closed
        }
        Err(error) => End::Failed(error),
    }
}

/// Reads until the connection breaks. After the peer's end, the writer ends the connection when all is written.
async fn read(
    shard: &Rc<RefCell<Shard>>,
    flow: FlowId,
    reader: &mut (impl AsyncRead + Unpin),
) -> io::Result<()> {
    let mut framer = Framer::default();
    let mut buffer = BytesMut::new();
    let mut room = READ;
    loop {
        buffer.reserve(room);
        let n = reader.read_buf(&mut buffer).await?;
        room = if n < READ { READ } else { BURST };
        let goes_on = {
            let mut shard = shard.borrow_mut();
            if n == 0 {
                shard.close(flow);
            }
            n > 0 && shard.handle_bytes(flow, n, &mut framer, &mut buffer)
        };
        if !goes_on {
            return std::future::pending().await;
        }
        // A long message must not leave its room behind for as long as the connection lasts.
        if buffer.is_empty() {
            buffer = BytesMut::new();
        }
    }
}

/// Writes what is queued until the connection is to be closed.
async fn write(
    shard: &Rc<RefCell<Shard>>,
    flow: FlowId,
    signals: &Signals,
    writer: &mut (impl AsyncWrite + Unpin),
) -> io::Result<()> {
    let mut buffer = Vec::new();
    loop {
        let next = shard.borrow_mut().take_outbound(flow, &mut buffer);
        match next {
            Next::Wait => signals.wake.notified().await,
            Next::Close => return Ok(()),
            Next::Write => {
                let mut rest = buffer.as_slice();
                while !rest.is_empty() {
                    let n = writer.write(rest).await?;
                    if n == 0 {
                        return Err(io::ErrorKind::WriteZero.into());
                    }
                    // TLS takes bytes into a buffer of its own: only when that is empty has the peer taken them.
                    writer.flush().await?;
                    rest = rest.get(n..).unwrap_or_default();
                    shard.borrow_mut().handle_written(flow, n);
                }
                buffer.clear();
                buffer.shrink_to(KEPT);
            }
        }
    }
}
