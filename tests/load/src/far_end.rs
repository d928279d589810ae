//! The far end of every call: a registrar and telephones behind one SIP port, and one RTP port
//! that returns what it gets.

use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::browser_media::is_rtp;
use crate::sip::{Message, uri};

/// When a call's INVITE arrived, and when its 200 left.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    pub(crate) invite_arrived: Instant,
    pub(crate) answer_left: Instant,
}

/// Running threads; they end when this is dropped.
pub(crate) struct FarEnd {
    /// Where the gateway sends its SIP.
    pub(crate) sip: SocketAddr,
    /// Where every telephone receives RTP.
    pub(crate) rtp: SocketAddr,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    times: Mutex<HashMap<String, Times>>,
    /// Calls that are up at the far end.
    calls: AtomicU64,
    registered: AtomicU64,
    packets: AtomicU64,
    hung_up: AtomicU64,
}

impl FarEnd {
    /// Opens both ports on the loopback and answers from then on.
    pub(crate) fn start() -> Result<Self> {
        let sip = UdpSocket::bind("127.0.0.1:0").context("SIP port of the far end")?;
        let rtp = UdpSocket::bind("127.0.0.1:0").context("RTP port of the far end")?;
        widen(&rtp);
        widen(&sip);
        let shared = Arc::new(Shared::default());
        let addresses = (sip.local_addr()?, rtp.local_addr()?);
        let threads = vec![
            std::thread::spawn({
                let shared = shared.clone();
                move || serve_sip(&sip, addresses.1, &shared)
            }),
            std::thread::spawn({
                let shared = shared.clone();
                move || echo_rtp(&rtp, &shared)
            }),
        ];
        Ok(FarEnd {
            sip: addresses.0,
            rtp: addresses.1,
            shared,
            threads,
        })
    }

    /// When the call to `number` passed; taken out of the record.
    pub(crate) fn times(&self, number: &str) -> Option<Times> {
        self.shared
            .times
            .lock()
            .expect("no thread panics with this lock")
            .remove(number)
    }

    /// RTP packets that arrived so far.
    pub(crate) fn packets(&self) -> u64 {
        self.shared.packets.load(Ordering::Relaxed)
    }

    /// Calls that are up.
    pub(crate) fn calls(&self) -> u64 {
        self.shared.calls.load(Ordering::Relaxed)
    }

    /// REGISTER requests that were accepted.
    pub(crate) fn registered(&self) -> u64 {
        self.shared.registered.load(Ordering::Relaxed)
    }
}

impl Drop for FarEnd {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn serve_sip(socket: &UdpSocket, rtp: SocketAddr, shared: &Shared) {
    let _ = socket.set_read_timeout(Some(POLL));
    let local = socket
        .local_addr()
        .map(|a| a.to_string())
        .unwrap_or_default();
    let mut buffer = vec![0_u8; 65536];
    while !shared.stop.load(Ordering::Relaxed) {
        let Ok((length, from)) = socket.recv_from(&mut buffer) else {
            continue;
        };
        let arrived = Instant::now();
        let text = String::from_utf8_lossy(&buffer[..length]);
        let Some(message) = Message::parse(&text) else {
            continue;
        };
        if message.status().is_some() {
            continue;
        }
        if let Some(answer) = answers(&message, &local, rtp, shared) {
            let left = Instant::now();
            if message.method() == "INVITE" {
                let number = dialled(&message);
                shared
                    .times
                    .lock()
                    .expect("no thread panics with this lock")
                    .entry(number)
                    .or_insert(Times {
                        invite_arrived: arrived,
                        answer_left: left,
                    });
            }
            let _ = socket.send_to(answer.as_bytes(), from);
        }
    }
}

fn answers(message: &Message, local: &str, rtp: SocketAddr, shared: &Shared) -> Option<String> {
    let contact = format!("Contact: <sip:far@{local}>\r\n");
    Some(match message.method() {
        "ACK" => return None,
        "REGISTER" if !message.header("authorization").contains("response=\"0") => message.response(
            "401 Unauthorized",
            &format!(
                "WWW-Authenticate: Digest realm=\"load.test\", nonce=\"{:x}\", algorithm=MD5, qop=\"auth\"\r\n",
                shared.registered.load(Ordering::Relaxed)
            ),
            "",
        ),
        "REGISTER" => {
            shared.registered.fetch_add(1, Ordering::Relaxed);
            let user = uri(message.header("to"));
            let contact = message.header("contact");
            let (address, asked) = match contact.split_once(";expires=") {
                Some((address, rest)) => (address, rest.split(';').next().unwrap_or(rest)),
                None => (contact, message.header("expires")),
            };
            let bound = match asked {
                "0" => String::new(),
                seconds => format!("Contact: {address};expires={seconds}\r\n"),
            };
            let more = format!(
                "{bound}Service-Route: <sip:orig@{local};lr>\r\nP-Associated-URI: <{user}>\r\n"
            );
            message.response("200 OK", &more, "")
        }
        "INVITE" => {
            if !message.header("to").contains(";tag=") {
                shared.calls.fetch_add(1, Ordering::Relaxed);
            }
            let sdp = format!(
                "v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio {port} RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\na=ptime:20\r\n",
                ip = rtp.ip(),
                port = rtp.port()
            );
            message.response("200 OK", &contact, &sdp)
        }
        "BYE" => {
            shared.hung_up.fetch_add(1, Ordering::Relaxed);
            let _ = shared.calls.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
            message.response("200 OK", "", "")
        }
        _ => message.response("200 OK", "", ""),
    })
}

fn echo_rtp(socket: &UdpSocket, shared: &Shared) {
    let _ = socket.set_read_timeout(Some(POLL));
    let mut buffer = [0_u8; 2048];
    while !shared.stop.load(Ordering::Relaxed) {
        let Ok((length, from)) = socket.recv_from(&mut buffer) else {
            continue;
        };
        if is_rtp(&buffer[..length]) {
            shared.packets.fetch_add(1, Ordering::Relaxed);
            let _ = socket.send_to(&buffer[..length], from);
        }
    }
}

/// The user part of the Request-URI.
fn dialled(message: &Message) -> String {
    let uri = message.start.split(' ').nth(1).unwrap_or_default();
    uri.trim_start_matches("sip:")
        .split('@')
        .next()
        .unwrap_or_default()
        .to_owned()
}

/// Asks for a receive buffer that holds a burst of every call at once.
pub(crate) fn widen(socket: &UdpSocket) {
    use std::os::fd::AsRawFd;
    let size: libc::c_int = 8 << 20;
    for option in [libc::SO_RCVBUFFORCE, libc::SO_RCVBUF] {
        // SAFETY: the descriptor is open, and the pointer and length describe one c_int.
        #[allow(unsafe_code)]
        let done = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                option,
                (&raw const size).cast(),
                size_of::<libc::c_int>() as libc::socklen_t,
            )
        };
        if done == 0 {
            return;
        }
    }
}

const POLL: Duration = Duration::from_millis(100);
