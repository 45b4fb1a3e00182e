//! The two directions of a connection, whatever carries it.

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, Interest, split};
use tokio::net::{TcpStream, UnixStream};

use super::memory::Memory;
use crate::term::Via;

/// A byte stream in both directions.
pub(crate) struct ByteStream {
    via: Via,
    carrier: Carrier,
}

enum Carrier {
    /// A socket with nothing in between.
    Tcp(TcpStream),
    /// The same within a host, and the memory that carries what follows the greeting, if there is any.
    Unix(UnixStream, Option<Box<Memory>>),
    /// Anything else. The halves are apart, so that reading and writing never wait for each other.
    Halves(From, To),
}

/// What the peer says.
pub(crate) type From = Box<dyn AsyncRead + Send + Unpin>;

/// What is said to it.
pub(crate) type To = Box<dyn AsyncWrite + Send + Unpin>;

/// What carries a connection once its greeting is over.
pub(crate) enum Bare {
    /// A socket, which does not block, and the memory that carries the bytes instead, within a host.
    Socket(OwnedFd, Option<Box<Memory>>),
    Halves(From, To),
}

impl ByteStream {
    /// A stream of two halves that come from elsewhere, of pipes say.
    pub(crate) fn new(
        via: Via,
        from: impl AsyncRead + Send + Unpin + 'static,
        to: impl AsyncWrite + Send + Unpin + 'static,
    ) -> ByteStream {
        ByteStream { via, carrier: Carrier::Halves(Box::new(from), Box::new(to)) }
    }

    /// Plain TCP. Nothing waits for more to be said.
    pub(crate) fn tcp(stream: TcpStream) -> io::Result<ByteStream> {
        stream.set_nodelay(true)?;
        Ok(ByteStream { via: Via::Loopback, carrier: Carrier::Tcp(stream) })
    }

    /// A socket within this host.
    pub(crate) fn unix(stream: UnixStream) -> ByteStream {
        ByteStream { via: Via::Loopback, carrier: Carrier::Unix(stream, None) }
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
        match &mut self.carrier {
            Carrier::Tcp(stream) => stream.write_all(bytes).await,
            Carrier::Unix(stream, _) => stream.write_all(bytes).await,
            Carrier::Halves(_, to) => {
                to.write_all(bytes).await?;
                to.flush().await
            }
        }
    }

    /// Reads some more behind what was read; nothing more will come if that is nothing.
    pub(crate) async fn hear(&mut self, read: &mut Vec<u8>) -> io::Result<usize> {
        match &mut self.carrier {
            Carrier::Tcp(stream) => stream.read_buf(read).await,
            Carrier::Unix(stream, _) => stream.read_buf(read).await,
            Carrier::Halves(from, _) => from.read_buf(read).await,
        }
    }

    /// What carries it at present.
    pub(crate) fn via(&self) -> Via {
        match self.carrier {
            Carrier::Unix(_, Some(_)) => Via::Memory,
            _ => self.via,
        }
    }

    /// The greeting is over, and this end has dialed: within a host, what follows goes through memory, if it is to be had
    /// at both ends.
    pub(crate) async fn offer_memory(&mut self) -> io::Result<()> {
        let Carrier::Unix(stream, memory) = &mut self.carrier else { return Ok(()) };
        let offer = || Memory::offer(&*stream);
        if let Some(mut offered) = stream.async_io(Interest::WRITABLE, offer).await? {
            let is_taken = || offered.is_taken(&*stream);
            let is_taken = stream.async_io(Interest::READABLE, is_taken).await?;
            *memory = is_taken.then_some(offered);
        }
        Ok(())
    }

    /// The same for the other end. Nothing that follows the greeting is read before.
    pub(crate) async fn accept_memory(&mut self) -> io::Result<()> {
        let Carrier::Unix(stream, memory) = &mut self.carrier else { return Ok(()) };
        let hear_offer = || Memory::hear_offer(&*stream);
        if let Some(offer) = stream.async_io(Interest::READABLE, hear_offer).await? {
            *memory = offer.take()?;
            let answer = || Memory::answer(&*stream, memory.is_some());
            stream.async_io(Interest::WRITABLE, answer).await?;
        }
        Ok(())
    }

    /// Takes it apart, to whatever is fastest.
    pub(crate) fn bare(self) -> io::Result<Bare> {
        Ok(match self.carrier {
            Carrier::Tcp(stream) => Bare::Socket(stream.into_std()?.into(), None),
            Carrier::Unix(stream, memory) => Bare::Socket(stream.into_std()?.into(), memory),
            Carrier::Halves(from, to) => Bare::Halves(from, to),
        })
    }
}

/// Makes a stream when it is needed, on the node's IO thread.
pub(crate) type MakeStream = Box<dyn FnOnce() -> io::Result<ByteStream> + Send>;
