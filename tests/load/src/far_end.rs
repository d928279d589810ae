//! The far end of every call: a registrar and telephones behind one SIP port, and one RTP port
//! that returns what it gets.

use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

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
    /// Sends what telephones ask of themselves.
    asking: UdpSocket,
    threads: Vec<JoinHandle<()>>,
}

/// A call as a telephone knows it.
#[derive(Clone, Debug)]
struct Phone {
    peer: SocketAddr,
    id: String,
    local: String,
    remote: String,
    target: String,
    sequence: u32,
    /// Direction of the gateway's last offer.
    offered: String,
    is_over: bool,
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
    /// REGISTER requests that ended a registration.
    farewells: AtomicU64,
    /// Contact of each user, as the last REGISTER had it.
    contacts: Mutex<HashMap<String, String>>,
    /// Each call by the number that was dialled.
    phones: Mutex<HashMap<String, Phone>>,
    /// Final answers to what telephones asked, by Call-ID and CSeq.
    answers: Mutex<HashMap<(String, String), Message>>,
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
        let asking = sip.try_clone()?;
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
            asking,
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
        if let Some(status) = message.status() {
            if status >= 200 {
                let asked = (
                    message.header("call-id").to_owned(),
                    message.header("cseq").to_owned(),
                );
                lock(&shared.answers).insert(asked, message);
            }
            continue;
        }
        note(&message, from, shared);
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
            lock(&shared.contacts).insert(user.to_owned(), uri(contact).to_owned());
            let (address, asked) = match contact.split_once(";expires=") {
                Some((address, rest)) => (address, rest.split(';').next().unwrap_or(rest)),
                None => (contact, message.header("expires")),
            };
            let bound = match asked {
                "0" => {
                    shared.farewells.fetch_add(1, Ordering::Relaxed);
                    String::new()
                }
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
            let direction = match direction(&message.body) {
                "sendonly" => "recvonly",
                "recvonly" => "sendonly",
                same => same,
            };
            message.response("200 OK", &contact, &describe(rtp, 1, direction))
        }
        "BYE" => {
            shared.hung_up.fetch_add(1, Ordering::Relaxed);
            let _ = shared.calls.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
            message.response("200 OK", "", "")
        }
        _ => message.response("200 OK", "", ""),
    })
}

/// Learns what a telephone must know of a request in order to ask something itself.
fn note(message: &Message, peer: SocketAddr, shared: &Shared) {
    let id = message.header("call-id");
    let mut phones = lock(&shared.phones);
    match message.method() {
        "INVITE" if !message.header("to").contains(";tag=") => {
            let phone = Phone {
                peer,
                id: id.to_owned(),
                local: format!("{};tag=far-end", message.header("to")),
                remote: message.header("from").to_owned(),
                target: uri(message.header("contact")).to_owned(),
                sequence: 0,
                offered: direction(&message.body).to_owned(),
                is_over: false,
            };
            phones.insert(dialled(message), phone);
        }
        "INVITE" | "BYE" => {
            if let Some(phone) = phones.values_mut().find(|phone| phone.id == id) {
                phone.offered = direction(&message.body).to_owned();
                phone.is_over = message.method() == "BYE";
            }
        }
        _ => {}
    }
}

impl FarEnd {
    /// REGISTER requests that ended a registration.
    pub(crate) fn farewells(&self) -> u64 {
        self.shared.farewells.load(Ordering::Relaxed)
    }

    /// Where each user is reached, as his last REGISTER had it.
    pub(crate) fn contacts(&self) -> HashMap<String, String> {
        lock(&self.shared.contacts).clone()
    }

    /// The direction that the telephone of a call was last offered.
    pub(crate) fn offered(&self, number: &str) -> String {
        lock(&self.shared.phones)
            .get(number)
            .map_or_else(String::new, |phone| phone.offered.clone())
    }

    /// Whether the telephone of a call was hung up on.
    pub(crate) fn is_over(&self, number: &str) -> bool {
        lock(&self.shared.phones)
            .get(number)
            .is_none_or(|phone| phone.is_over)
    }

    /// The telephone of a call holds it; gives the gateway's answer.
    pub(crate) fn hold(&self, number: &str) -> Result<String> {
        let body = describe(self.rtp, 2, "sendonly");
        Ok(self.ask(number, "INVITE", &body)?.body)
    }

    /// The telephone of a call hangs up.
    pub(crate) fn hang_up(&self, number: &str) -> Result<()> {
        self.ask(number, "BYE", "")?;
        let _ = self
            .shared
            .calls
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
        Ok(())
    }

    /// Asks inside a call, again and again until there is a final answer.
    fn ask(&self, number: &str, method: &str, body: &str) -> Result<Message> {
        let phone = {
            let mut phones = lock(&self.shared.phones);
            let phone = phones
                .get_mut(number)
                .with_context(|| format!("no call to {number}"))?;
            phone.sequence += 1;
            phone.clone()
        };
        let request = |method: &str, body: &str| {
            let kind = if body.is_empty() {
                ""
            } else {
                "Content-Type: application/sdp\r\n"
            };
            format!(
                "{method} {} SIP/2.0\r\nVia: SIP/2.0/UDP {sip};branch=z9hG4bKfar{number}{method}{n};rport\r\nMax-Forwards: 60\r\nFrom: {}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {n} {method}\r\nContact: <sip:far@{sip}>\r\n{kind}Content-Length: {}\r\n\r\n{body}",
                phone.target,
                phone.local,
                phone.remote,
                phone.id,
                body.len(),
                sip = self.sip,
                n = phone.sequence,
            )
        };
        let asked = (phone.id.clone(), format!("{} {method}", phone.sequence));
        let text = request(method, body);
        for pause in [100, 200, 400, 800, 1600, 3200] {
            self.asking.send_to(text.as_bytes(), phone.peer)?;
            let until = Instant::now() + Duration::from_millis(pause);
            while Instant::now() < until {
                if let Some(answer) = lock(&self.shared.answers).remove(&asked) {
                    if method == "INVITE" {
                        self.asking
                            .send_to(request("ACK", "").as_bytes(), phone.peer)?;
                    }
                    return match answer.status() {
                        Some(200) => Ok(answer),
                        _ => bail!("{method} of the far end, {number}: {}", answer.start),
                    };
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        bail!("no answer to {method} of the far end, {number}")
    }
}

fn describe(rtp: SocketAddr, version: u32, direction: &str) -> String {
    format!(
        "v=0\r\no=- 1 {version} IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio {port} RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\na=ptime:20\r\na={direction}\r\n",
        ip = rtp.ip(),
        port = rtp.port()
    )
}

/// Who may talk by a description.
pub(crate) fn direction(sdp: &str) -> &str {
    ["sendonly", "recvonly", "inactive"]
        .into_iter()
        .find(|direction| {
            let mut attributes = sdp
                .lines()
                .filter_map(|line| line.trim_end().strip_prefix("a="));
            attributes.any(|attribute| attribute == *direction)
        })
        .unwrap_or("sendrecv")
}

fn lock<T>(shared: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    shared.lock().expect("no thread panics with this lock")
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
