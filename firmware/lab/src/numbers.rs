//! The numbers that the lab answers.

/// What happens on a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// 600: answers and returns what it hears, keys too.
    Echo,
    /// 601: answers and plays 440 Hz.
    Tone,
    /// 602: rings and is never answered.
    Ring,
    /// 603: is busy.
    Busy,
    /// 604: declines.
    Reject,
    /// 605: plays 440 Hz before it answers, reliably if the caller can (RFC 3262).
    Early,
    /// 606: answers, beeps for each key, hangs up on `#`.
    Keys,
    /// 607: answers, hangs up and calls the caller back; an echo then.
    CallBack,
    /// 608: answers, and after a while holds and resumes the call.
    Hold,
    /// 609: as 607, but the call back comes without an offer.
    CallBackWithoutOffer,
}

impl Service {
    /// Every service.
    pub const ALL: [Service; 10] = [
        Service::Echo,
        Service::Tone,
        Service::Ring,
        Service::Busy,
        Service::Reject,
        Service::Early,
        Service::Keys,
        Service::CallBack,
        Service::Hold,
        Service::CallBackWithoutOffer,
    ];

    /// The number to dial.
    #[must_use]
    pub fn number(self) -> &'static str {
        match self {
            Service::Echo => "600",
            Service::Tone => "601",
            Service::Ring => "602",
            Service::Busy => "603",
            Service::Reject => "604",
            Service::Early => "605",
            Service::Keys => "606",
            Service::CallBack => "607",
            Service::Hold => "608",
            Service::CallBackWithoutOffer => "609",
        }
    }

    /// What a newcomer is told about it.
    #[must_use]
    pub fn description(self) -> &'static str {
        match self {
            Service::Echo => "echo: returns what you say and the keys you press",
            Service::Tone => "tone: 440 Hz",
            Service::Ring => "rings and is never answered",
            Service::Busy => "busy",
            Service::Reject => "declines the call",
            Service::Early => "plays a tone before it answers",
            Service::Keys => "beeps for each key, hangs up on #",
            Service::CallBack => "hangs up and calls you back",
            Service::Hold => "holds the call and resumes it",
            Service::CallBackWithoutOffer => "calls you back without an offer",
        }
    }

    /// The service behind a number.
    #[must_use]
    pub fn dialled(digits: &str) -> Option<Self> {
        Service::ALL
            .into_iter()
            .find(|service| service.number() == digits)
    }
}
