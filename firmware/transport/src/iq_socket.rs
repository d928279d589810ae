//! The words of `iq` over a Unix socket, between the control process and a media process
//! of its own: frames of a length and JSON, a version said first, bounded queues both ways.
//!
//! A peer is known by the user its process runs as (`SO_PEERCRED`), which the kernel says.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use crate::crypto::Calibration;
use crate::rtp::Snapshot;

/// The version of these words; both ends must have the same.
pub const VERSION: u32 = 1;

/// What the control process says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ToMedia {
    /// The first word.
    Hello {
        /// [`VERSION`] of the speaker.
        version: u32,
    },
    /// Signaling asks for something.
    Command(iq::Command),
    /// Asks for the figures of all workers; answered by [`FromMedia::Counted`].
    Count {
        /// Comes back with the answer.
        id: u64,
    },
}

/// What the media process says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum FromMedia {
    /// The answer to a [`ToMedia::Hello`] that was welcome.
    Hello {
        /// [`VERSION`] of the speaker.
        version: u32,
        /// Tells this life of the media process from others: sessions do not outlive it.
        life: u64,
    },
    /// The answer to one that was not; the connection ends.
    TurnedAway {
        /// Why, for the log.
        reason: String,
    },
    /// Media answers or reports.
    Reply(iq::Reply),
    /// The figures of all workers.
    Counted {
        /// Of the question.
        id: u64,
        /// Each worker with its number.
        workers: Vec<(usize, Snapshot)>,
        /// Which engines seal and open, and what they cost.
        crypto: Calibration,
    },
}

/// Where the media process listens, and for whom.
#[derive(Clone, Debug)]
pub struct Door {
    /// Users whose processes may connect, beside root and the user of this process.
    pub users: Vec<u32>,
    /// Permissions of the socket's file.
    pub mode: u32,
}

impl Door {
    /// Listens at a path. A socket file that nobody listens on any more is replaced.
    ///
    /// # Errors
    /// If something else listens there or lies there, or the system refuses.
    pub fn listen(&self, path: &Path) -> io::Result<UnixListener> {
        if let Ok(there) = fs::symlink_metadata(path) {
            if !there.file_type().is_socket() {
                let message = "there is something else than a socket";
                return Err(io::Error::new(io::ErrorKind::AlreadyExists, message));
            }
            if std::os::unix::net::UnixStream::connect(path).is_ok() {
                let message = "another media process listens there";
                return Err(io::Error::new(io::ErrorKind::AddrInUse, message));
            }
            fs::remove_file(path)?;
        }
        let listener = UnixListener::bind(path)?;
        fs::set_permissions(path, Permissions::from_mode(self.mode))?;
        Ok(listener)
    }

    /// Whether a peer's process runs as a user that may speak here.
    ///
    /// # Errors
    /// Says whose process it is, or that the system does not know.
    pub fn check(&self, peer: &UnixStream) -> io::Result<()> {
        let user = peer.peer_cred()?.uid();
        if user == 0 || user == own_user() || self.users.contains(&user) {
            return Ok(());
        }
        let message = format!("a process of user {user} may not");
        Err(io::Error::new(io::ErrorKind::PermissionDenied, message))
    }
}

/// Who owns what this process makes.
fn own_user() -> u32 {
    use std::os::unix::fs::MetadataExt as _;
    fs::metadata("/proc/self").map_or(0, |own| own.uid())
}

/// One end of a connection: words in and out, each through a bounded queue with a task
/// of its own, so that a peer that does not read holds nobody up.
pub struct Connection<In, Out> {
    /// What the peer says; over when the connection is.
    pub incoming: mpsc::Receiver<In>,
    /// What the peer shall hear; closed when the connection is.
    pub outgoing: mpsc::Sender<Out>,
    reader: AbortHandle,
    writer: AbortHandle,
}

impl<In, Out> Connection<In, Out>
where
    In: DeserializeOwned + Send + 'static,
    Out: Serialize + Send + 'static,
{
    /// Starts speaking on a stream.
    #[must_use]
    pub fn start(stream: UnixStream) -> Self {
        let (read, write) = stream.into_split();
        let (heard, incoming) = mpsc::channel(QUEUED);
        let (outgoing, said) = mpsc::channel(QUEUED);
        Connection {
            incoming,
            outgoing,
            reader: tokio::spawn(listen(read, heard)).abort_handle(),
            writer: tokio::spawn(speak(write, said)).abort_handle(),
        }
    }

    /// The first word of the peer.
    ///
    /// # Errors
    /// If it does not come in time, or cannot be read.
    pub async fn first(&mut self) -> io::Result<In> {
        match tokio::time::timeout(FIRST_WORD, self.incoming.recv()).await {
            Ok(Some(word)) => Ok(word),
            Ok(None) => Err(io::ErrorKind::UnexpectedEof.into()),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

impl<In, Out> Connection<In, Out> {
    /// Lets the writer finish what is queued, and ends.
    pub async fn finish(mut self) {
        let (closed, _) = mpsc::channel(1);
        self.outgoing = closed;
        // The peer closes when it has read the last word.
        let _ = tokio::time::timeout(FIRST_WORD, async {
            while self.incoming.recv().await.is_some() {}
        })
        .await;
    }
}

impl<In, Out> Drop for Connection<In, Out> {
    fn drop(&mut self) {
        self.reader.abort();
        self.writer.abort();
    }
}

async fn listen<In: DeserializeOwned>(mut stream: impl AsyncRead + Unpin, heard: mpsc::Sender<In>) {
    let mut frame = Vec::new();
    loop {
        match read_frame(&mut stream, &mut frame).await {
            Ok(word) => {
                if heard.send(word).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                if error.kind() != io::ErrorKind::UnexpectedEof {
                    tracing::warn!(%error, "the other plane's words cannot be read");
                }
                return;
            }
        }
    }
}

async fn speak<Out: Serialize>(mut stream: impl AsyncWrite + Unpin, mut said: mpsc::Receiver<Out>) {
    while let Some(word) = said.recv().await {
        let mut frame = frame_of(&word);
        while let Ok(word) = said.try_recv() {
            frame.extend(frame_of(&word));
            if frame.len() > LONGEST_FRAME {
                break;
            }
        }
        if stream.write_all(&frame).await.is_err() {
            return;
        }
    }
    let _ = stream.shutdown().await;
}

async fn read_frame<In: DeserializeOwned>(
    stream: &mut (impl AsyncRead + Unpin),
    frame: &mut Vec<u8>,
) -> io::Result<In> {
    let length = stream.read_u32().await? as usize;
    if length > LONGEST_FRAME {
        let message = format!("a frame of {length} octets");
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    frame.resize(length, 0);
    stream.read_exact(frame).await?;
    // What the fault is, and not what the frame holds.
    serde_json::from_slice(frame).map_err(|fault| {
        let message = format!("{:?} at octet {}", fault.classify(), fault.column());
        io::Error::new(io::ErrorKind::InvalidData, message)
    })
}

fn frame_of(word: &impl Serialize) -> Vec<u8> {
    let word = serde_json::to_vec(word).expect("words have no maps and no foreign types");
    let length = u32::try_from(word.len()).expect("words are short");
    [&length.to_be_bytes()[..], &word].concat()
}

/// Words that wait for the other end, each way.
const QUEUED: usize = 1024;
/// An audit of 20,000 sessions takes one of them.
const LONGEST_FRAME: usize = 4 * 1024 * 1024;
/// How long the first word may take.
const FIRST_WORD: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;
    use iq::{
        AccessLoss, AccessRemote, AccessTransport, Command, Configure, Connected, DtlsRole,
        DtmfReceived, Fingerprint, FingerprintHash, Flow, IceCredentials, ImsAddress, ImsRemote,
        Leg, Line, Payload, PayloadFormat, PayloadNumbers, Private, Refusal, Reply, Reserve,
        Reserved, SendDtmf, SessionId, SessionReport, SrtpProfile,
    };

    const SESSION: SessionId = SessionId {
        epoch: u64::MAX,
        n: 7,
    };

    fn ice() -> IceCredentials {
        IceCredentials {
            ufrag: "ufrag".into(),
            pwd: Private::new("a password of its own".into()),
        }
    }

    fn fingerprint() -> Fingerprint {
        Fingerprint {
            hash: FingerprintHash::Sha256,
            value: vec![0xab; 32],
        }
    }

    fn commands() -> Vec<Command> {
        let numbers = PayloadNumbers {
            receive: 8,
            send: 8,
        };
        let line = Line {
            index: 0,
            payloads: vec![Payload {
                format: PayloadFormat::Pcma,
                clock_rate: 8000,
                access: numbers,
                ims: numbers,
            }],
            access: Flow::BOTH,
            ims: Flow::NONE,
            ims_remote: Some(ImsRemote {
                rtp: "192.0.2.1:4000".parse().unwrap(),
                rtcp: "[2001:db8::1]:4001".parse().unwrap(),
            }),
            ims_rtcp: true,
        };
        vec![
            Command::Reserve(Reserve {
                session: SESSION,
                lines: 1,
                is_shared: false,
            }),
            Command::Configure(Configure {
                session: SESSION,
                access: Some(AccessRemote {
                    ice: ice(),
                    fingerprints: vec![fingerprint()],
                    dtls_role: DtlsRole::Server,
                }),
                lines: vec![line],
            }),
            Command::RestartIce { session: SESSION },
            Command::SendDtmf(SendDtmf {
                session: SESSION,
                leg: Leg::Ims,
                event: Private::new(5),
                duration: Duration::from_millis(160),
            }),
            Command::Release { session: SESSION },
            Command::Audit,
        ]
    }

    fn replies() -> Vec<Reply> {
        let address = "192.0.2.9:24000".parse().unwrap();
        vec![
            Reply::Reserved(Reserved {
                session: SESSION,
                access: AccessTransport {
                    candidates: vec![address],
                    ice: ice(),
                    fingerprint: fingerprint(),
                },
                ims: vec![ImsAddress {
                    rtp: address,
                    rtcp: address,
                }],
            }),
            Reply::Refused {
                session: SESSION,
                reason: Refusal::Unavailable,
            },
            Reply::Released {
                session: SESSION,
                report: Box::new(SessionReport {
                    profile: Some(SrtpProfile::AeadAes128Gcm),
                    ..SessionReport::default()
                }),
            },
            Reply::Audited {
                sessions: vec![SESSION],
            },
            Reply::Connected(Connected {
                session: SESSION,
                profile: SrtpProfile::Aes128CmSha1_80,
                handshake: Duration::from_millis(12),
            }),
            Reply::AccessLost {
                session: SESSION,
                loss: AccessLoss::ConsentExpired,
            },
            Reply::ImsSilent {
                session: SESSION,
                line: 0,
                silent_for: Duration::from_secs(9),
            },
            Reply::FirstMedia {
                session: SESSION,
                leg: Leg::Access,
            },
            Reply::DtmfReceived(DtmfReceived {
                session: SESSION,
                leg: Leg::Access,
                event: Private::new(11),
            }),
        ]
    }

    fn pair() -> (
        Connection<ToMedia, FromMedia>,
        Connection<FromMedia, ToMedia>,
    ) {
        let (media, control) = UnixStream::pair().unwrap();
        (Connection::start(media), Connection::start(control))
    }

    #[tokio::test]
    async fn every_word_arrives_as_it_was_said() {
        let (mut media, mut control) = pair();
        for command in commands() {
            let word = ToMedia::Command(command);
            control.outgoing.send(word.clone()).await.unwrap();
            assert_eq!(media.incoming.recv().await, Some(word));
        }
        for reply in replies() {
            let word = FromMedia::Reply(reply.clone());
            media.outgoing.send(word).await.unwrap();
            match control.incoming.recv().await {
                Some(FromMedia::Reply(heard)) => assert_eq!(heard, reply),
                other => panic!("{other:?}"),
            }
        }
        let mut snapshot = Snapshot::default();
        snapshot.media.forwarded = 17;
        snapshot.worker.sent = 18;
        let workers = vec![(1, snapshot)];
        let crypto = Calibration {
            kernel: "gcm-aes-caam".to_owned(),
            ..Calibration::default()
        };
        let word = FromMedia::Counted {
            id: 3,
            workers,
            crypto: crypto.clone(),
        };
        media.outgoing.send(word).await.unwrap();
        match control.incoming.recv().await {
            Some(FromMedia::Counted {
                id: 3,
                workers,
                crypto: heard,
            }) => {
                assert_eq!(heard, crypto);
                let (worker, snapshot) = &workers[0];
                let counted = (snapshot.media.forwarded, snapshot.worker.sent);
                assert_eq!((*worker, counted), (1, (17, 18)));
            }
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn nonsense_ends_the_connection_and_nothing_else() {
        for nonsense in [&b"\0\0\0\x04what"[..], b"\xff\xff\xff\xff", b"\0\0"] {
            let (media, mut control) = UnixStream::pair().unwrap();
            let mut media: Connection<ToMedia, FromMedia> = Connection::start(media);
            control.write_all(nonsense).await.unwrap();
            control.shutdown().await.unwrap();
            assert_eq!(media.incoming.recv().await, None);
        }
    }

    #[tokio::test]
    async fn a_peer_that_does_not_read_is_felt_by_the_speaker_alone() {
        let (_deaf, control) = UnixStream::pair().unwrap();
        let control: Connection<FromMedia, ToMedia> = Connection::start(control);
        let mut said = 0;
        while control
            .outgoing
            .try_send(ToMedia::Count { id: said })
            .is_ok()
        {
            said += 1;
            tokio::task::yield_now().await;
        }
        assert!(said >= QUEUED as u64);
    }

    #[tokio::test]
    async fn the_socket_is_private_and_a_left_over_one_is_replaced() {
        let folder = std::env::temp_dir().join(format!("iq-socket-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("media.sock");
        let door = Door {
            users: Vec::new(),
            mode: 0o600,
        };
        let listener = door.listen(&path).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let taken = door.listen(&path).unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
        drop(listener);
        let listener = door.listen(&path).unwrap();
        let peer = UnixStream::connect(&path).await.unwrap();
        let (accepted, _) = listener.accept().await.unwrap();
        assert!(door.check(&accepted).is_ok() && door.check(&peer).is_ok());
        let file = folder.join("a file");
        fs::write(&file, "precious").unwrap();
        assert!(door.listen(&file).is_err());
        assert_eq!(fs::read(&file).unwrap(), b"precious");
        fs::remove_dir_all(folder).unwrap();
    }
}
