//! RTP and RTCP, as they come in the clear from the IMS side and sealed from a browser.

use std::time::{Duration, Instant};

use iq::{Now, SrtpProfile};
use media::dtmf::Listener;
use media::packet::rtp::Header;
use media::rewrite::Rewriter;
use media::rtcp::{Cname, MAX_COMPOUND, NtpClock, Reporter};
use media::srtp::{Inbound, MAX_OVERHEAD, MasterKey, Outbound};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

/// Takes the bytes as a stream of packets, each behind an octet with its length, and lets
/// both legs of a line hear them.
///
/// # Panics
///
/// When a packet that leaves breaks the outgoing stream, or does not open again.
pub fn rtp_rtcp(data: &[u8]) {
    let mut line = Line::new();
    let mut rest = data;
    while let Some((&length, behind)) = rest.split_first() {
        let (packet, behind) = behind.split_at(behind.len().min(usize::from(length)));
        line.hear(packet);
        rest = behind;
    }
    line.report();
}

struct Line {
    inbound: Inbound,
    outbound: Outbound,
    peer: Inbound,
    rewriter: Rewriter,
    reporter: Reporter,
    listener: Listener,
    last: Option<Header>,
    now: Instant,
}

impl Line {
    fn new() -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(0);
        let now = Instant::now();
        let clock = NtpClock::new(Now {
            monotonic: now,
            wall: None,
        });
        let profile = SrtpProfile::AeadAes128Gcm;
        let key = MasterKey::new(profile, &[1; 16], &[2; 12]).expect("the profile's lengths");
        let rewriter = Rewriter::new(8000, &mut rng);
        let cname = Cname::random(&mut rng);
        Line {
            inbound: Inbound::new(profile, &key),
            outbound: Outbound::new(profile, &key),
            peer: Inbound::new(profile, &key),
            reporter: Reporter::new(rewriter.ssrc(), 8000, cname, clock, &mut rng, now),
            rewriter,
            listener: Listener::default(),
            last: None,
            now,
        }
    }

    fn hear(&mut self, packet: &[u8]) {
        self.now += Duration::from_millis(20);
        let _ = self.reporter.handle_rtcp(packet, self.now);
        let _ = self.inbound.open_rtp(&mut packet.to_vec(), self.now);
        let _ = self.inbound.open_rtcp(&mut packet.to_vec(), self.now);
        if let Ok(header) = Header::parse(packet) {
            self.reporter.handle_received(&header, self.now);
            let _ = self.listener.handle_rtp(&header, header.payload(packet));
            self.relay(packet, &header);
        }
    }

    fn relay(&mut self, packet: &[u8], header: &Header) {
        let mut buffer = packet.to_vec();
        let Ok(leaving) = self.rewriter.rewrite(&mut buffer, header, 8, self.now) else {
            return;
        };
        if let Some(last) = self.last.replace(leaving) {
            assert_eq!(leaving.sequence, last.sequence.wrapping_add(1));
            assert_eq!(leaving.ssrc, last.ssrc);
        }
        buffer.truncate(leaving.payload_end);
        assert_eq!(Header::parse(&buffer), Ok(leaving));
        assert_eq!(leaving.payload(&buffer), header.payload(packet));
        self.reporter.handle_sent(&leaving, self.now);

        let plain = buffer.clone();
        buffer.resize(plain.len() + MAX_OVERHEAD, 0);
        let sealed = self
            .outbound
            .seal_rtp(&mut buffer, plain.len())
            .expect("an unbroken sequence can be sealed");
        let opened = self
            .peer
            .open_rtp(&mut buffer[..sealed], self.now)
            .expect("what was sealed can be opened");
        assert_eq!(buffer[..opened], plain);
    }

    fn report(&mut self) {
        let mut buffer = [0; MAX_COMPOUND];
        let later = self.now + Duration::from_secs(10);
        if let Some(length) = self.reporter.poll(&mut buffer, later) {
            self.reporter
                .handle_rtcp(&buffer[..length], later)
                .expect("what was written can be read");
        }
        let _ = self.reporter.report();
    }
}
