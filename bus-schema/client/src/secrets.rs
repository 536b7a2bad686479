//! Secrets by ticket: offered here, claimed once over a plain Unix socket as a memfd.
//!
//! The claimant sends the ticket's 16 bytes; the holder answers one status byte and, on success,
//! the descriptor (unix(7), SCM_RIGHTS). Neither the bus nor any buffer of it sees the bytes.

use crate::server::{ServeError, clear};
use piccolo_bus_schema::{Fault, ServiceName, endpoint, ticket::Ticket};
use rustix::{
    fs::{MemfdFlags, memfd_create},
    io::Errno,
    net::{
        RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
        SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
    },
};
use std::{
    collections::HashMap,
    fs::File,
    io::{self, IoSlice, IoSliceMut, Read, Seek, Write},
    mem::MaybeUninit,
    os::fd::{AsFd, OwnedFd},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, Interest},
    net::{UnixListener, UnixStream},
};
use zeroize::Zeroizing;

/// A ticket is claimed within milliseconds; after this the secret is wiped.
const LIFETIME: Duration = Duration::from_secs(30);
/// Secrets offered at once. More means claimants are failing.
const CAPACITY: usize = 256;
/// Largest secret: a private key or a password, never a file.
const SIZE_LIMIT: usize = 64 * 1024;
const PATIENCE: Duration = Duration::from_secs(5);

const GRANTED: u8 = 1;
const UNKNOWN: u8 = 0;

/// Secrets that wait to be claimed.
pub(crate) struct Secrets {
    holder: ServiceName,
    offers: Mutex<HashMap<[u8; 16], Offer>>,
}

struct Offer {
    bytes: Zeroizing<Vec<u8>>,
    until: Instant,
}

impl Secrets {
    pub(crate) fn new(holder: ServiceName) -> Arc<Self> {
        Arc::new(Self {
            holder,
            offers: Mutex::new(HashMap::new()),
        })
    }

    /// Keeps the bytes for one claim.
    pub(crate) fn offer(&self, bytes: Zeroizing<Vec<u8>>) -> Result<Ticket, Fault> {
        if bytes.len() > SIZE_LIMIT {
            return Err(Fault::invalid(
                "secret",
                format!("is over {SIZE_LIMIT} bytes"),
            ));
        }
        let now = Instant::now();
        let mut offers = self.offers.lock().unwrap_or_else(PoisonError::into_inner);
        offers.retain(|_, offer| offer.until > now);
        if offers.len() >= CAPACITY {
            return Err(Fault::busy(Duration::from_secs(1)));
        }
        let id: [u8; 16] = rand::random();
        offers.insert(
            id,
            Offer {
                bytes,
                until: now + LIFETIME,
            },
        );
        Ok(Ticket {
            holder: self.holder,
            id,
        })
    }

    /// Takes the bytes of a ticket; the second time there are none.
    pub(crate) fn take(&self, id: &[u8; 16]) -> Option<Zeroizing<Vec<u8>>> {
        let mut offers = self.offers.lock().unwrap_or_else(PoisonError::into_inner);
        offers
            .remove(id)
            .filter(|offer| offer.until > Instant::now())
            .map(|offer| offer.bytes)
    }

    /// Opens the door and answers claims until the runtime ends.
    pub(crate) fn serve(self: Arc<Self>, runtime_dir: &Path) -> Result<(), ServeError> {
        let path = endpoint::secrets(runtime_dir, self.holder);
        clear(&path)?;
        let listener = UnixListener::bind(&path).map_err(|error| ServeError::Bind {
            path,
            why: error.to_string(),
        })?;
        tokio::spawn(async move {
            loop {
                match listener.accept().await {
                    Ok((stream, _)) => {
                        let secrets = Arc::clone(&self);
                        tokio::spawn(async move {
                            let answer = tokio::time::timeout(PATIENCE, secrets.answer(stream));
                            if let Ok(Err(error)) = answer.await {
                                tracing::debug!(%error, "claim failed");
                            }
                        });
                    }
                    Err(error) => {
                        tracing::warn!(%error, "secrets door can't accept");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                }
            }
        });
        Ok(())
    }

    async fn answer(&self, mut stream: UnixStream) -> io::Result<()> {
        let peer = stream.peer_cred()?.uid();
        if peer != 0 && peer != rustix::process::geteuid().as_raw() {
            return Err(io::Error::from(io::ErrorKind::PermissionDenied));
        }
        let mut id = [0_u8; 16];
        stream.read_exact(&mut id).await?;
        match self.take(&id) {
            Some(bytes) => send_descriptor(&stream, memfd(&bytes)?).await,
            None => stream.write_all(&[UNKNOWN]).await,
        }
    }
}

fn memfd(bytes: &[u8]) -> io::Result<OwnedFd> {
    let mut file = File::from(memfd_create("secret", MemfdFlags::CLOEXEC)?);
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file.into())
}

async fn send_descriptor(stream: &UnixStream, descriptor: OwnedFd) -> io::Result<()> {
    stream
        .async_io(Interest::WRITABLE, || {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            let descriptors = [descriptor.as_fd()];
            control.push(SendAncillaryMessage::ScmRights(&descriptors));
            sendmsg(
                stream,
                &[IoSlice::new(&[GRANTED])],
                &mut control,
                SendFlags::NOSIGNAL,
            )
            .map(|_| ())
            .map_err(io::Error::from)
        })
        .await
}

/// Fetches the bytes of a ticket from its holder.
pub(crate) async fn claim(
    runtime_dir: &Path,
    ticket: &Ticket,
) -> Result<Zeroizing<Vec<u8>>, Fault> {
    let claim = claim_once(runtime_dir, ticket);
    match tokio::time::timeout(PATIENCE, claim).await {
        Ok(Ok(Some(bytes))) => Ok(bytes),
        Ok(Ok(None)) => Err(Fault::not_found(
            "the secret of this ticket (used or expired)",
        )),
        Ok(Err(error)) => Err(Fault::unavailable(
            format!("secrets of {}", ticket.holder),
            error.to_string(),
        )),
        Err(_) => Err(Fault::DeadlineExceeded),
    }
}

async fn claim_once(runtime_dir: &Path, ticket: &Ticket) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
    let path = endpoint::secrets(runtime_dir, ticket.holder);
    let mut stream = UnixStream::connect(path).await?;
    stream.write_all(&ticket.id).await?;
    let Some(descriptor) = receive_descriptor(&stream).await? else {
        return Ok(None);
    };
    let mut file = File::from(descriptor);
    let size = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
    if size > SIZE_LIMIT {
        return Err(io::Error::other("secret is too large"));
    }
    let mut bytes = Zeroizing::new(vec![0; size]);
    file.rewind()?;
    file.read_exact(&mut bytes)?;
    Ok(Some(bytes))
}

async fn receive_descriptor(stream: &UnixStream) -> io::Result<Option<OwnedFd>> {
    stream
        .async_io(Interest::READABLE, || {
            let mut status = [UNKNOWN];
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let received = recvmsg(
                stream,
                &mut [IoSliceMut::new(&mut status)],
                &mut control,
                RecvFlags::CMSG_CLOEXEC,
            )
            .map_err(|errno: Errno| io::Error::from(errno))?;
            if received.bytes == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
            }
            let descriptor = control.drain().find_map(|message| match message {
                RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
                _ => None,
            });
            Ok(descriptor.filter(|_| status[0] == GRANTED))
        })
        .await
}
