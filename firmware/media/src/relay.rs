//! One session: the browser's leg, the IMS leg, and the media lines between them.

mod access;
mod line;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use iq::{
    AccessTransport, Configure, IceCredentials, Leg, LineIndex, Reply, Reserve, Reserved, SendDtmf,
    SessionId, SessionReport,
};

pub(crate) use access::{Access, Patience};
pub(crate) use line::{MediaLine, Origin};

use crate::counters::Counters;
use crate::crypto::SrtpCipher;
use crate::pace::{Limit, Pace};
use crate::packet::buffer::PacketBuffer;
use crate::packet::stun::StunMessage;
use crate::peer::dtls;
use crate::peer::ice::Check;
use crate::{Config, Discard, Output, PairId, Path, Socket, Verdict, ports};

/// The media side of one session.
pub(crate) struct Relay<C: SrtpCipher> {
    id: SessionId,
    access: Access<C>,
    lines: Vec<MediaLine>,
    access_discarded: u64,
    ims_discarded: u64,
    alarm: Option<Instant>,
    handshakes: Pace,
}

/// Where a relay puts what is to be sent, answered and counted.
pub(crate) struct Outbox<'a> {
    pub(crate) session: SessionId,
    pub(crate) output: &'a mut VecDeque<Output>,
    pub(crate) counters: &'a mut Counters,
}

/// What a relay shares with all others of its worker.
pub(crate) struct Shared<'a> {
    pub(crate) config: &'a Config,
    pub(crate) dtls: &'a dtls::Settings,
}

impl<C: SrtpCipher + Clone> Relay<C> {
    pub(crate) fn new(
        wanted: &Reserve,
        local: IceCredentials,
        ports: Vec<ports::Line>,
        cipher: C,
    ) -> Self {
        let id = wanted.session;
        Relay {
            id,
            access: Access::new(id, local, wanted.is_shared, cipher),
            lines: ports.into_iter().map(MediaLine::new).collect(),
            access_discarded: 0,
            ims_discarded: 0,
            alarm: None,
            handshakes: Pace::default(),
        }
    }

    pub(crate) fn id(&self) -> SessionId {
        self.id
    }

    /// When it is going to be woken.
    pub(crate) fn alarm(&self) -> Option<Instant> {
        self.alarm
    }

    pub(crate) fn set_alarm(&mut self, at: Option<Instant>) {
        self.alarm = at;
    }

    /// Whether one more connectivity check or handshake record may be worked on.
    pub(crate) fn admits_handshake(&mut self, now: Instant) -> bool {
        self.handshakes.admits(HANDSHAKE_LIMIT, now)
    }

    pub(crate) fn access(&self) -> &Access<C> {
        &self.access
    }

    pub(crate) fn access_mut(&mut self) -> &mut Access<C> {
        &mut self.access
    }

    /// The port pairs it holds.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = PairId> {
        self.lines.iter().map(|line| line.port.pair)
    }

    /// The transports that were set aside for it.
    pub(crate) fn reserved(&self, config: &Config) -> Reserved {
        Reserved {
            session: self.id,
            access: AccessTransport {
                candidates: config.candidates.clone(),
                ice: self.access.ice().local().clone(),
                fingerprint: config.certificate.fingerprint(),
            },
            ims: self.lines.iter().map(|line| line.port.address).collect(),
        }
    }

    /// Whether every line of the wanted state was reserved.
    pub(crate) fn has_lines(&self, wanted: &Configure) -> bool {
        wanted
            .lines
            .iter()
            .all(|line| usize::from(line.index) < self.lines.len())
    }

    /// Takes the wanted state.
    pub(crate) fn configure(
        &mut self,
        wanted: &Configure,
        shared: &Shared<'_>,
        origin: &mut Origin<'_>,
        now: Instant,
        outbox: &mut Outbox<'_>,
    ) {
        for (index, line) in (0..).zip(&mut self.lines) {
            let wanted = wanted.lines.iter().find(|line| line.index == index);
            line.configure(wanted, origin, now);
        }
        if let Some(remote) = &wanted.access {
            self.access.configure(remote, shared.dtls, now, outbox);
        }
    }

    /// Answers a connectivity check.
    pub(crate) fn handle_check(
        &mut self,
        request: &StunMessage<'_>,
        path: Path,
        shared: &Shared<'_>,
        now: Instant,
        outbox: &mut Outbox<'_>,
    ) -> Result<Check, Discard> {
        self.access
            .handle_check(request, path, shared.dtls, now, outbox)
    }

    /// Takes DTLS records of the browser's.
    pub(crate) fn handle_dtls(
        &mut self,
        records: &[u8],
        path: Path,
        shared: &Shared<'_>,
        now: Instant,
        outbox: &mut Outbox<'_>,
    ) -> Result<(), Discard> {
        self.access
            .handle_dtls(records, path, shared.dtls, now, outbox)
    }

    /// Relays an RTP packet of the browser's.
    pub(crate) fn handle_access_rtp(
        &mut self,
        packet: &mut PacketBuffer,
        now: Instant,
        outbox: &mut Outbox<'_>,
    ) -> Result<Verdict, Discard> {
        self.access.open(packet, false, now)?;
        let payload_type = packet.bytes()[1] & 0x7f;
        let line = self
            .lines
            .iter_mut()
            .find(|line| line.carries(payload_type))
            .ok_or(Discard::UnknownPayload)?;
        let to = line.ims_remote(false).ok_or(Discard::NoDestination);
        line.relay(Leg::Access, packet, to.map(drop), now, outbox)?;
        Ok(Verdict::Forward {
            socket: Socket::Ims {
                pair: line.port.pair,
                rtcp: false,
            },
            to: to?,
        })
    }

    /// Hears the browser's RTCP, which speaks of all lines at once (RFC 8834 §4.1).
    pub(crate) fn handle_access_rtcp(
        &mut self,
        packet: &mut PacketBuffer,
        now: Instant,
        outbox: &mut Outbox<'_>,
    ) -> Result<Verdict, Discard> {
        self.access.open(packet, true, now)?;
        let mut result = Err(Discard::NotFlowing);
        for line in &mut self.lines {
            result = line
                .handle_rtcp(Leg::Access, packet.bytes(), now)
                .or(result);
        }
        result?;
        outbox.counters.rtcp_received += 1;
        Ok(Verdict::Consumed)
    }

    /// Relays an RTP packet of the IMS side.
    pub(crate) fn handle_ims_rtp(
        &mut self,
        index: LineIndex,
        from: SocketAddr,
        packet: &mut PacketBuffer,
        now: Instant,
        outbox: &mut Outbox<'_>,
    ) -> Result<Verdict, Discard> {
        let to = self.access.outlet(now);
        let line = self.ims_line(index, false, from)?;
        line.note_heard(now);
        line.relay(Leg::Ims, packet, to.map(drop), now, outbox)?;
        self.access.seal(packet, false)?;
        let path = to?;
        Ok(Verdict::Forward {
            socket: Socket::Access(path.door),
            to: path.remote,
        })
    }

    /// Hears the RTCP of the IMS side.
    pub(crate) fn handle_ims_rtcp(
        &mut self,
        index: LineIndex,
        from: SocketAddr,
        packet: &PacketBuffer,
        now: Instant,
        outbox: &mut Outbox<'_>,
    ) -> Result<Verdict, Discard> {
        let line = self.ims_line(index, true, from)?;
        if !line.wanted().is_some_and(|wanted| wanted.ims_rtcp) {
            return Err(Discard::RtcpOff);
        }
        line.handle_rtcp(Leg::Ims, packet.bytes(), now)?;
        line.note_heard(now);
        outbox.counters.rtcp_received += 1;
        Ok(Verdict::Consumed)
    }

    /// The line of a port pair, if the packet comes from where signalling said.
    fn ims_line(
        &mut self,
        index: LineIndex,
        rtcp: bool,
        from: SocketAddr,
    ) -> Result<&mut MediaLine, Discard> {
        let line = self
            .lines
            .get_mut(usize::from(index))
            .ok_or(Discard::NoSession)?;
        let agreed = line.ims_remote(rtcp).ok_or(Discard::WrongSource)?;
        let is_agreed = agreed.port() == from.port() && agreed.ip() == from.ip().to_canonical();
        if is_agreed || agreed == from {
            Ok(line)
        } else {
            Err(Discard::WrongSource)
        }
    }

    /// Counts a packet of a leg that was thrown away.
    pub(crate) fn note_discarded(&mut self, leg: Leg) {
        match leg {
            Leg::Access => self.access_discarded += 1,
            Leg::Ims => self.ims_discarded += 1,
        }
    }

    /// Plays a key on the first line that can carry it.
    pub(crate) fn send_dtmf(&mut self, dtmf: &SendDtmf, now: Instant, outbox: &mut Outbox<'_>) {
        let is_played = self
            .lines
            .iter_mut()
            .any(|line| line.play(dtmf.leg, dtmf.event, dtmf.duration, now));
        if is_played {
            outbox.counters.dtmf_sent += 1;
        }
    }

    /// Lets time pass; `forget` is called with every address whose consent is over.
    pub(crate) fn handle_timeout(
        &mut self,
        shared: &Shared<'_>,
        now: Instant,
        outbox: &mut Outbox<'_>,
        forget: impl FnMut(SocketAddr),
    ) {
        self.access
            .handle_timeout(patience(shared.config), now, outbox, forget);
        let mut packet = PacketBuffer::new();
        for at in 0..self.lines.len() {
            if let Some(silent_for) = self.lines[at].silence_due(shared.config.ims_silence, now) {
                outbox.reply(Reply::ImsSilent {
                    session: self.id,
                    line: LineIndex::try_from(at).unwrap_or(LineIndex::MAX),
                    silent_for,
                });
            }
            for leg in [Leg::Access, Leg::Ims] {
                while self.lines[at].poll_event(leg, &mut packet, now) {
                    self.transmit(at, leg, false, &mut packet, now, outbox);
                }
                while self.lines[at].poll_report(leg, &mut packet, now) {
                    outbox.counters.rtcp_sent += 1;
                    self.transmit(at, leg, true, &mut packet, now, outbox);
                }
            }
        }
    }

    /// Sends a packet of our own on a leg, if it can be sent there now.
    fn transmit(
        &mut self,
        at: usize,
        leg: Leg,
        rtcp: bool,
        packet: &mut PacketBuffer,
        now: Instant,
        outbox: &mut Outbox<'_>,
    ) {
        if packet.is_empty() {
            return;
        }
        let line = &self.lines[at];
        match leg {
            Leg::Ims => {
                if let Some(to) = line.ims_remote(rtcp) {
                    let pair = line.port.pair;
                    outbox.transmit(Socket::Ims { pair, rtcp }, to, packet.bytes().to_vec());
                }
            }
            Leg::Access => {
                if let Ok(path) = self.access.outlet(now)
                    && self.access.seal(packet, rtcp).is_ok()
                {
                    let bytes = packet.bytes().to_vec();
                    outbox.transmit(Socket::Access(path.door), path.remote, bytes);
                }
            }
        }
    }

    /// When [`Relay::handle_timeout`] is wanted next.
    pub(crate) fn poll_timeout(&self, config: &Config) -> Option<Instant> {
        self.lines
            .iter()
            .map(|line| line.poll_timeout(config.ims_silence))
            .chain([self.access.poll_timeout(patience(config))])
            .flatten()
            .min()
    }

    /// Says goodbye on both legs, and how it went.
    pub(crate) fn release(mut self, now: Instant, outbox: &mut Outbox<'_>) -> SessionReport {
        let mut packet = PacketBuffer::new();
        for at in 0..self.lines.len() {
            for leg in [Leg::Access, Leg::Ims] {
                if self.lines[at].goodbye(leg, &mut packet, now) {
                    self.transmit(at, leg, true, &mut packet, now, outbox);
                }
            }
        }
        self.access.close(now, outbox);
        let mut report = SessionReport {
            profile: self.access.profile(),
            ..SessionReport::default()
        };
        for line in &self.lines {
            line.add_to(&mut report.access, &mut report.ims);
        }
        report.access.discarded = self.access_discarded;
        report.ims.discarded = self.ims_discarded;
        report
    }
}

impl Outbox<'_> {
    pub(crate) fn transmit(&mut self, socket: Socket, to: SocketAddr, bytes: Vec<u8>) {
        self.output
            .push_back(Output::Transmit { socket, to, bytes });
    }

    pub(crate) fn reply(&mut self, reply: Reply) {
        self.output.push_back(Output::Reply(reply));
    }
}

fn patience(config: &Config) -> Patience {
    Patience {
        ice_timeout: config.ice_timeout,
        consent_report: config.consent_report,
    }
}

/// A browser that connects sends some thirty checks and records, and later one check
/// in 2.5 s.
const HANDSHAKE_LIMIT: Limit = Limit {
    interval: Duration::from_millis(10),
    burst: 80,
};

/// The earliest of some instants.
pub(crate) fn min_instant<const N: usize>(instants: [Option<Instant>; N]) -> Option<Instant> {
    instants.into_iter().flatten().min()
}
