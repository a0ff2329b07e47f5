//! SIP over WebSocket (RFC 7118): a connection's task from the HTTP upgrade on. One WebSocket message is one SIP message.

#![allow(clippy::result_large_err)] // tungstenite says how a refusal is passed to it

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::{HeaderValue, StatusCode, header};
use tokio_tungstenite::tungstenite::protocol::frame::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes, protocol::WebSocketConfig};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async_with_config};

use super::connections::{Next, Signals};
use super::settings::ListenerWeb;
use super::shard::Shard;
use super::stream::{End, follow, within};
use crate::base::{FlowId, ListenerId};

/// Read from the connection at once; an idle one takes that much memory.
const READ: usize = 4 * 1024;
/// How long a peer may take to read why it is sent away.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// RFC 7118 §4.1.
const SUBPROTOCOL: &str = "sip";

/// Upgrades a connection and runs it.
pub(super) async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    shard: &Rc<RefCell<Shard>>,
    listener: ListenerId,
    remote: SocketAddr,
    stream: S,
    settings: &ListenerWeb,
) {
    let (patience, longest) = {
        let shard = shard.borrow();
        (shard.patience().handshake, shard.longest_message())
    };
    let config = WebSocketConfig::default()
        .read_buffer_size(READ)
        .write_buffer_size(0)
        .max_message_size(Some(longest))
        .max_frame_size(Some(longest));
    let arrived = Rc::new(Cell::new(0));
    let mut stream = Counted { stream, arrived: arrived.clone() };
    let upgrade = async {
        let answer = |request: &Request, response: Response| answer(request, response, settings);
        Ok(accept_hdr_async_with_config(&mut stream, answer, Some(config)).await)
    };
    let error = match within(patience, "WebSocket handshake", upgrade).await {
        Ok(Ok(socket)) => {
            let (flow, signals) = shard.borrow_mut().handle_accepted(listener, remote, &[]);
            let conversation = Conversation { shard, flow, signals: &signals, arrived: &arrived };
            return follow(shard, flow, &signals, conversation.run(socket)).await;
        }
        // It has been answered.
        Ok(Err(Error::Http(refused))) => {
            io::Error::other(format!("the WebSocket upgrade was refused: {}", refused.status()))
        }
        Ok(Err(error)) => {
            let _ = timeout(LAST_WORDS, stream.write_all(BAD_REQUEST)).await;
            io::Error::other(error)
        }
        Err(late) => late,
    };
    shard.borrow_mut().handle_bad_handshake(listener, remote, &error);
}

const BAD_REQUEST: &[u8] = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

/// Whether the upgrade is for us: our path, an origin that may, and SIP.
fn answer(
    request: &Request,
    mut response: Response,
    settings: &ListenerWeb,
) -> Result<Response, ErrorResponse> {
    if request.uri().path() != settings.path {
        return Err(refusal(StatusCode::NOT_FOUND));
    }
    // RFC 6455 §10.2: a browser says which page speaks; a page that is not ours may not use its visitor's address.
    let mut origins = request.headers().get_all(header::ORIGIN).iter();
    let origin = origins.next().map(HeaderValue::as_bytes);
    let is_listed = settings
        .origins
        .iter()
        .any(|allowed| origin.is_some_and(|o| o.eq_ignore_ascii_case(allowed.as_bytes())));
    if origins.next().is_some() || !(settings.origins.is_empty() || is_listed) {
        return Err(refusal(StatusCode::FORBIDDEN));
    }
    // RFC 7118 §4.1: the client asks for `sip`, and is told so.
    let offered = request.headers().get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
    let mut offered = offered.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    if !offered.any(|name| name.trim().eq_ignore_ascii_case(SUBPROTOCOL)) {
        return Err(refusal(StatusCode::BAD_REQUEST));
    }
    response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    Ok(response)
}

fn refusal(status: StatusCode) -> ErrorResponse {
    let mut response = ErrorResponse::new(None);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    response
}

/// A connection that is up.
struct Conversation<'c> {
    shard: &'c Rc<RefCell<Shard>>,
    flow: FlowId,
    signals: &'c Signals,
    arrived: &'c Cell<usize>,
}

impl Conversation<'_> {
    /// Reads and writes at the same time, as [`super::stream`] does.
    async fn run<S: AsyncRead + AsyncWrite + Unpin>(self, socket: WebSocketStream<S>) -> End {
        let (mut sink, mut source) = socket.split();
        let outcome = tokio::select! {
            outcome = self.read(&mut source) => outcome,
            outcome = self.write(&mut sink) => outcome,
        };
        let error = match outcome {
            Ok(()) | Err(Error::ConnectionClosed) => None,
            Err(error) => Some(error),
        };
        let code = error.as_ref().map_or(CloseCode::Normal, close_code);
        let goodbye = Message::Close(Some(CloseFrame { code, reason: Utf8Bytes::default() }));
        let _ = timeout(LAST_WORDS, sink.send(goodbye)).await;
        match error {
            None => End::Closed,
            Some(Error::Io(error)) => End::Failed(error),
            Some(error) => End::Failed(io::Error::other(error)),
        }
    }

    async fn read<S>(&self, source: &mut S) -> Result<(), Error>
    where
        S: futures_util::Stream<Item = Result<Message, Error>> + Unpin,
    {
        loop {
            let next = poll_fn(|context| {
                let next = source.poll_next_unpin(context);
                let arrived = self.arrived.take();
                if arrived > 0 {
                    self.shard.borrow_mut().handle_web_bytes(self.flow, arrived);
                }
                next
            });
            let message = match next.await {
                Some(Ok(Message::Text(text))) => Bytes::from(text),
                Some(Ok(Message::Binary(bytes))) => bytes,
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => Bytes::new(),
                Some(Ok(Message::Close(_) | Message::Frame(_))) | None => return Ok(()),
                Some(Err(error)) => return Err(error),
            };
            if !self.shard.borrow_mut().handle_web_message(self.flow, message) {
                // The writer ends the connection when all is written.
                return std::future::pending().await;
            }
        }
    }

    async fn write<S>(&self, sink: &mut S) -> Result<(), Error>
    where
        S: futures_util::Sink<Message, Error = Error> + Unpin,
    {
        let mut buffer = Vec::new();
        loop {
            let next = self.shard.borrow_mut().take_outbound(self.flow, &mut buffer);
            match next {
                Next::Wait => self.signals.wake.notified().await,
                Next::Close => return Ok(()),
                Next::Write => {
                    let queued = std::mem::take(&mut buffer);
                    for message in super::connections::web_messages(&queued) {
                        sink.send(as_message(message)).await?;
                        self.shard.borrow_mut().handle_written(self.flow, message.len());
                    }
                }
            }
        }
    }
}

/// RFC 7118 §5: text or binary. Scripts like text; what is not UTF-8 cannot be text.
fn as_message(bytes: &[u8]) -> Message {
    match std::str::from_utf8(bytes) {
        Ok(text) => Message::text(text),
        Err(_) => Message::binary(bytes.to_vec()),
    }
}

/// RFC 6455 §7.4.1.
fn close_code(error: &Error) -> CloseCode {
    match error {
        Error::Capacity(_) => CloseCode::Size,
        Error::Utf8(_) => CloseCode::Invalid,
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => CloseCode::Normal,
        _ => CloseCode::Protocol,
    }
}

/// A stream that counts what it read: part of a message may have arrived, and nobody else would know.
struct Counted<S> {
    stream: S,
    arrived: Rc<Cell<usize>>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let outcome = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.arrived.set(self.arrived.get() + buffer.filled().len() - before);
        outcome
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
