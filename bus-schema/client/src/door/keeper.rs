//! Both sides of the door: keeping one for a service, entering one as a client.

use super::{
    inspector::Rule,
    private_path,
    relay::{Ending, carry},
    zmtp::{
        GREETING, READY_LIMIT, SocketKind, Violation, check_greeting, check_ready, greeting, ready,
        ready_length,
    },
};
use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
    sync::Semaphore,
};

/// A peer of ours shakes hands within a millisecond; a mute one must not hold a place for long.
const HANDSHAKE: Duration = Duration::from_secs(2);
/// Connections at once: seven services, two sockets each way, and room for restarts.
const PLACES: usize = 128;
/// Out of descriptors: the accept loop must not spin.
const PAUSE: Duration = Duration::from_millis(100);

/// Keeps the door of an endpoint: accepts on `public`, hands on to the library's `private` socket.
/// Runs until its runtime ends.
pub(crate) async fn keep(public: UnixListener, private: PathBuf, kind: SocketKind) {
    let places = Arc::new(Semaphore::new(PLACES));
    // Never reused in the life of the process: a ROUTER would let a second peer take over.
    let serial = AtomicU64::new(1);
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        match public.accept().await {
            Ok((stranger, _)) => {
                let identity = format!("peer.{}", serial.fetch_add(1, Ordering::Relaxed));
                let private = private.clone();
                tokio::spawn(async move {
                    match admit(stranger, &private, kind, &identity).await {
                        Ending::Cut(violation) => {
                            tracing::warn!(?kind, identity, %violation, "peer cut off");
                        }
                        Ending::Lost(error) => {
                            tracing::debug!(?kind, identity, %error, "peer left")
                        }
                    }
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(?kind, %error, "accept failed");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn admit(
    mut stranger: UnixStream,
    private: &Path,
    kind: SocketKind,
    identity: &str,
) -> Ending {
    let handshakes = async {
        check_user(&stranger)?;
        shake_hands(&mut stranger, kind, None).await?;
        let mut library = UnixStream::connect(private).await?;
        shake_hands(&mut library, kind.peer(), Some(identity)).await?;
        Ok::<_, Ending>(library)
    };
    match timed(handshakes).await {
        Ok(library) => carry(stranger, library, rule_for_peers_of(kind)).await,
        Err(ending) => ending,
    }
}

/// Enters the door at `public` as a client of type `kind`; the path of a private socket the
/// library can connect to, once.
pub(crate) async fn enter(
    runtime_dir: &Path,
    public: &Path,
    kind: SocketKind,
) -> Result<PathBuf, Ending> {
    let handshake = async {
        let mut stranger = UnixStream::connect(public).await?;
        check_user(&stranger)?;
        shake_hands(&mut stranger, kind, None).await?;
        Ok::<_, Ending>(stranger)
    };
    let stranger = timed(handshake).await?;
    let private = private_path(runtime_dir)?;
    let listener = UnixListener::bind(&private)?;
    let path = private.clone();
    tokio::spawn(async move {
        let ending = introduce(listener, stranger, kind).await;
        let _ = std::fs::remove_file(&path);
        if let Ending::Cut(violation) = ending {
            tracing::warn!(?kind, %violation, "peer cut off");
        }
    });
    Ok(private)
}

async fn introduce(listener: UnixListener, stranger: UnixStream, kind: SocketKind) -> Ending {
    let handshake = async {
        let (mut library, _) = listener.accept().await?;
        shake_hands(&mut library, kind.peer(), None).await?;
        Ok::<_, Ending>(library)
    };
    match timed(handshake).await {
        Ok(library) => carry(stranger, library, rule_for_peers_of(kind)).await,
        Err(ending) => ending,
    }
}

async fn timed<T>(work: impl Future<Output = Result<T, Ending>>) -> Result<T, Ending> {
    tokio::time::timeout(HANDSHAKE, work)
        .await
        .unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut).into()))
}

/// What a socket of this type may hear.
const fn rule_for_peers_of(kind: SocketKind) -> Rule {
    match kind {
        SocketKind::Pub => Rule::Subscriptions,
        SocketKind::Dealer | SocketKind::Router | SocketKind::Sub => Rule::Messages,
    }
}

/// The kernel says who is at the other end (unix(7), SO_PEERCRED).
fn check_user(stream: &UnixStream) -> Result<(), Ending> {
    let user = stream.peer_cred()?.uid();
    if user == 0 || user == rustix::process::geteuid().as_raw() {
        Ok(())
    } else {
        Err(io::Error::from(io::ErrorKind::PermissionDenied).into())
    }
}

/// Greets as `kind` and expects its counterpart.
async fn shake_hands(
    stream: &mut UnixStream,
    kind: SocketKind,
    identity: Option<&str>,
) -> Result<(), Ending> {
    stream.write_all(&greeting()).await?;
    let mut theirs = [0; GREETING];
    stream.read_exact(&mut theirs).await?;
    check_greeting(&theirs)?;
    stream.write_all(&ready(kind, identity)).await?;
    let mut header = [0; 2];
    stream.read_exact(&mut header).await?;
    let length = ready_length(header)?;
    let mut body = [0; READY_LIMIT];
    let body = body.get_mut(..length).ok_or(Violation::Ready)?;
    stream.read_exact(body).await?;
    check_ready(body, kind.peer())?;
    Ok(())
}
