//! One media line of a relay: what arrives on one leg leaves on the other as a stream
//! of our own, and each leg's RTCP ends here.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use iq::{DtmfReceived, Leg, LegReport, Payload, PayloadFormat, PayloadNumbers, Private, Reply};
use rand_chacha::ChaCha20Rng;

use super::{Outbox, min_instant};
use crate::pace::{Limit, Pace};
use crate::packet::buffer::PacketBuffer;
use crate::packet::rtp;
use crate::rewrite::Rewriter;
use crate::rtcp::{Cname, NtpClock, Reporter};
use crate::{Discard, dtmf, ports};

/// A reserved media line, and what it carries once signalling said so.
pub(crate) struct MediaLine {
    pub(crate) port: ports::Line,
    wanted: Option<iq::Line>,
    ends: Option<Box<Ends>>,
    /// When something last came from the IMS side, or was first expected.
    heard: Option<Instant>,
    silences: u32,
}

/// Both ends of a line that is, or was, carried. They outlive a hold, so that sequence
/// numbers and packet indices go on.
struct Ends {
    access: End,
    ims: End,
}

/// What the box says and hears on one leg of a line.
struct End {
    rewriter: Rewriter,
    reporter: Reporter,
    player: dtmf::Player,
    listener: dtmf::Listener,
    heard_media: bool,
    pace: Pace,
}

/// What a line needs for its birth.
pub(crate) struct Origin<'a> {
    pub(crate) rng: &'a mut ChaCha20Rng,
    pub(crate) clock: NtpClock,
    pub(crate) access_cname: Cname,
    pub(crate) ims_cname: Cname,
}

impl MediaLine {
    pub(crate) fn new(port: ports::Line) -> Self {
        MediaLine {
            port,
            wanted: None,
            ends: None,
            heard: None,
            silences: 0,
        }
    }

    /// Takes the wanted state; `None` stops the line.
    pub(crate) fn configure(
        &mut self,
        wanted: Option<&iq::Line>,
        origin: &mut Origin<'_>,
        now: Instant,
    ) {
        self.wanted = wanted.cloned();
        let expects = wanted.is_some_and(|line| line.ims.receive && line.ims_remote.is_some());
        if !expects {
            self.heard = None;
        } else if self.heard.is_none() {
            self.heard = Some(now);
            self.silences = 0;
        }
        let Some(line) = wanted else {
            if let Some(ends) = &mut self.ends {
                ends.access.reporter.set_enabled(false, now);
                ends.ims.reporter.set_enabled(false, now);
            }
            return;
        };
        let ends = self.ends.get_or_insert_with(|| {
            let clock_rate = line.payloads.first().map_or(8000, |p| p.clock_rate);
            Box::new(Ends {
                access: End::new(clock_rate, origin.access_cname, origin, now),
                ims: End::new(clock_rate, origin.ims_cname, origin, now),
            })
        });
        ends.access.reporter.set_enabled(true, now);
        ends.ims
            .reporter
            .set_enabled(line.ims_rtcp && line.ims_remote.is_some(), now);
    }

    pub(crate) fn wanted(&self) -> Option<&iq::Line> {
        self.wanted.as_ref()
    }

    /// Whether a payload number of the browser's belongs to this line.
    pub(crate) fn carries(&self, payload_type: u8) -> bool {
        self.wanted.as_ref().is_some_and(|line| {
            line.payloads
                .iter()
                .any(|payload| payload.access.receive == payload_type)
        })
    }

    /// Where the IMS side wants RTP or RTCP, and has to send it from.
    pub(crate) fn ims_remote(&self, rtcp: bool) -> Option<SocketAddr> {
        let remote = self.wanted.as_ref()?.ims_remote?;
        Some(if rtcp { remote.rtcp } else { remote.rtp })
    }

    /// Notes that the IMS side is alive.
    pub(crate) fn note_heard(&mut self, now: Instant) {
        if let Some(heard) = &mut self.heard {
            *heard = now;
            self.silences = 0;
        }
    }

    /// Turns an RTP packet that arrived, open, on `from` into one that may leave, open,
    /// on the other leg; `outlet` says whether that leg can take it now.
    pub(crate) fn relay(
        &mut self,
        from: Leg,
        packet: &mut PacketBuffer,
        outlet: Result<(), Discard>,
        now: Instant,
        outbox: &mut Outbox<'_>,
    ) -> Result<(), Discard> {
        let wanted = self.wanted.as_ref().ok_or(Discard::NotFlowing)?;
        let ends = self.ends.as_mut().ok_or(Discard::NotFlowing)?;
        let header = rtp::Header::parse(packet.bytes())?;
        let (here, there) = ends.of(from);
        if !here.pace.admits(AUDIO_LIMIT, now) {
            return Err(Discard::OverRate);
        }
        // Also what is not sent on has arrived: its number is not missing.
        here.reporter.handle_received(&header, now);
        let payload = wanted
            .payloads
            .iter()
            .find(|payload| numbers(payload, from).receive == header.payload_type)
            .ok_or(Discard::UnknownPayload)?;
        let (inflow, outflow) = match from {
            Leg::Access => (wanted.access, wanted.ims),
            Leg::Ims => (wanted.ims, wanted.access),
        };
        if !inflow.receive {
            return Err(Discard::NotFlowing);
        }
        here.note_received(from, payload, &header, packet, outbox);
        if !outflow.send {
            return Err(Discard::NotFlowing);
        }
        outlet?;
        if there.player.is_playing() {
            return Err(Discard::ReplacedByDtmf);
        }
        let number = numbers(payload, from.other()).send;
        let leaving = there
            .rewriter
            .rewrite(packet.bytes_mut(), &header, number, now)?;
        packet.set_len(leaving.payload_end);
        there.reporter.handle_sent(&leaving, now);
        Ok(())
    }

    /// Hears the RTCP of one leg, open.
    pub(crate) fn handle_rtcp(
        &mut self,
        from: Leg,
        packet: &[u8],
        now: Instant,
    ) -> Result<(), Discard> {
        let ends = self.ends.as_mut().ok_or(Discard::NotFlowing)?;
        ends.of(from).0.reporter.handle_rtcp(packet, now)?;
        Ok(())
    }

    /// Queues a key to be played on a leg; false when it cannot be heard there.
    pub(crate) fn play(
        &mut self,
        leg: Leg,
        event: Private<u8>,
        duration: Duration,
        now: Instant,
    ) -> bool {
        if self.event_number(leg).is_none() {
            return false;
        }
        self.ends
            .as_mut()
            .is_some_and(|ends| ends.of(leg).0.player.play(event, duration, now).is_ok())
    }

    /// The payload number of telephone events on a leg that may be sent on.
    fn event_number(&self, leg: Leg) -> Option<u8> {
        let wanted = self.wanted.as_ref()?;
        let flow = match leg {
            Leg::Access => wanted.access,
            Leg::Ims => wanted.ims,
        };
        let event = wanted
            .payloads
            .iter()
            .find(|payload| payload.format == PayloadFormat::TelephoneEvent)?;
        flow.send.then(|| numbers(event, leg).send)
    }

    /// Writes into `packet` the next telephone-event packet that is due on a leg.
    pub(crate) fn poll_event(&mut self, leg: Leg, packet: &mut PacketBuffer, now: Instant) -> bool {
        let number = self.event_number(leg);
        let Some(ends) = &mut self.ends else {
            return false;
        };
        let end = ends.of(leg).0;
        let Some(number) = number else {
            end.player.stop();
            return false;
        };
        packet.set_received(0);
        let written = end
            .player
            .poll(packet.with_tail_mut(), &mut end.rewriter, number, now);
        let Some(header) = written else { return false };
        packet.set_len(header.payload_end);
        end.reporter.handle_sent(&header, now);
        true
    }

    /// Writes into `packet` the report that is due on a leg.
    pub(crate) fn poll_report(
        &mut self,
        leg: Leg,
        packet: &mut PacketBuffer,
        now: Instant,
    ) -> bool {
        let Some(ends) = &mut self.ends else {
            return false;
        };
        packet.set_received(0);
        let reporter = &mut ends.of(leg).0.reporter;
        match reporter.poll(packet.with_tail_mut(), now) {
            Some(length) => {
                packet.set_len(length);
                true
            }
            None => false,
        }
    }

    /// Writes into `packet` the last report of a leg.
    pub(crate) fn goodbye(&mut self, leg: Leg, packet: &mut PacketBuffer, now: Instant) -> bool {
        let Some(ends) = &mut self.ends else {
            return false;
        };
        packet.set_received(0);
        let reporter = &mut ends.of(leg).0.reporter;
        match reporter.goodbye(packet.with_tail_mut(), now) {
            Some(length) => {
                packet.set_len(length);
                true
            }
            None => false,
        }
    }

    /// For how long the IMS side has been silent, when that is to be reported now.
    pub(crate) fn silence_due(&mut self, patience: Duration, now: Instant) -> Option<Duration> {
        let heard = self.heard?;
        if now < heard + patience * (self.silences + 1) {
            return None;
        }
        self.silences += 1;
        Some(now.duration_since(heard))
    }

    pub(crate) fn poll_timeout(&self, ims_patience: Duration) -> Option<Instant> {
        let silence = self
            .heard
            .map(|heard| heard + ims_patience * (self.silences + 1));
        let Some(ends) = &self.ends else {
            return silence;
        };
        min_instant([silence, ends.access.poll_timeout(), ends.ims.poll_timeout()])
    }

    /// Adds the line's figures to those of its legs.
    pub(crate) fn add_to(&self, access: &mut LegReport, ims: &mut LegReport) {
        if let Some(ends) = &self.ends {
            add(access, &ends.access.reporter.report());
            add(ims, &ends.ims.reporter.report());
        }
    }
}

impl Ends {
    /// The end of a leg, and the other one.
    fn of(&mut self, leg: Leg) -> (&mut End, &mut End) {
        match leg {
            Leg::Access => (&mut self.access, &mut self.ims),
            Leg::Ims => (&mut self.ims, &mut self.access),
        }
    }
}

impl End {
    fn new(clock_rate: u32, cname: Cname, origin: &mut Origin<'_>, now: Instant) -> Self {
        let rewriter = Rewriter::new(clock_rate, origin.rng);
        let reporter = Reporter::new(
            rewriter.ssrc(),
            clock_rate,
            cname,
            origin.clock,
            origin.rng,
            now,
        );
        End {
            rewriter,
            reporter,
            player: dtmf::Player::new(clock_rate),
            listener: dtmf::Listener::default(),
            heard_media: false,
            pace: Pace::default(),
        }
    }

    fn note_received(
        &mut self,
        leg: Leg,
        payload: &Payload,
        header: &rtp::Header,
        packet: &PacketBuffer,
        outbox: &mut Outbox<'_>,
    ) {
        if !self.heard_media {
            self.heard_media = true;
            outbox.reply(Reply::FirstMedia {
                session: outbox.session,
                leg,
            });
        }
        if payload.format == PayloadFormat::TelephoneEvent
            && let Some(event) = self
                .listener
                .handle_rtp(header, header.payload(packet.bytes()))
        {
            outbox.counters.dtmf_received += 1;
            outbox.reply(Reply::DtmfReceived(DtmfReceived {
                session: outbox.session,
                leg,
                event,
            }));
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        min_instant([self.reporter.poll_timeout(), self.player.poll_timeout()])
    }
}

fn numbers(payload: &Payload, leg: Leg) -> PayloadNumbers {
    match leg {
        Leg::Access => payload.access,
        Leg::Ims => payload.ims,
    }
}

fn add(total: &mut LegReport, line: &LegReport) {
    for (total, line) in [
        (&mut total.received, &line.received),
        (&mut total.sent, &line.sent),
    ] {
        total.packets += line.packets;
        total.octets += line.octets;
        total.lost += line.lost;
        total.jitter = total.jitter.max(line.jitter);
    }
    total.round_trip = line.round_trip.or(total.round_trip);
}

/// Audio comes in packets of 10 ms or longer; this leaves room for key presses and for
/// what a network held back.
const AUDIO_LIMIT: Limit = Limit {
    interval: Duration::from_millis(5),
    burst: 200,
};
