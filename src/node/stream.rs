//! The two directions of a connection, whatever carries it.

use std::io;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, split};
use tokio::net::TcpStream;

use crate::term::Via;

/// A byte stream in both directions. The halves are apart, so that reading and writing never wait for
/// each other.
pub(crate) struct ByteStream {
    pub(crate) via: Via,
    pub(crate) from: From,
    pub(crate) to: To,
}

/// What the peer says.
pub(crate) type From = Box<dyn AsyncRead + Send + Unpin>;

/// What is said to it.
pub(crate) type To = Box<dyn AsyncWrite + Send + Unpin>;

impl ByteStream {
    /// A stream of two halves that come from elsewhere, of pipes say.
    pub(crate) fn new(
        via: Via,
        from: impl AsyncRead + Send + Unpin + 'static,
        to: impl AsyncWrite + Send + Unpin + 'static,
    ) -> ByteStream {
        ByteStream { via, from: Box::new(from), to: Box::new(to) }
    }

    /// Plain TCP, whose halves need no lock. Nothing waits for more to be said.
    pub(crate) fn tcp(stream: TcpStream) -> io::Result<ByteStream> {
        stream.set_nodelay(true)?;
        let (from, to) = stream.into_split();
        Ok(ByteStream::new(Via::Loopback, from, to))
    }

    /// A stream that cannot be taken apart by itself.
    pub(crate) fn whole(
        via: Via,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    ) -> ByteStream {
        let (from, to) = split(stream);
        ByteStream::new(via, from, to)
    }

    /// Writes all of it, and through what encrypts it, too.
    pub(crate) async fn say(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.to.write_all(bytes).await?;
        self.to.flush().await
    }
}

/// Makes a stream when it is needed, on the node's IO thread.
pub(crate) type MakeStream = Box<dyn FnOnce() -> io::Result<ByteStream> + Send>;
