//! Why a session description is turned away, and what the peer is told.

/// Why a session description is turned away.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SdpError {
    // The peer broke the grammar or the protocol.
    /// More octets, lines or media lines than any honest description has.
    #[error("session description too large: {0}")]
    TooLarge(&'static str),
    /// The grammar of RFC 8866 is broken.
    #[error("malformed session description: {0}")]
    Malformed(String),
    /// An answer does not fit the offer it is for, RFC 3264 §6.
    #[error("answer does not match the offer: {0}")]
    AnswerMismatch(&'static str),

    // The peer asked, properly, for something that this gateway does not do.
    /// No audio line that could be carried.
    #[error("no audio stream that can be carried")]
    NoAudio,
    /// The audio line was refused with port 0.
    #[error("audio was refused")]
    AudioRefused,
    /// No codec in common.
    #[error("no common audio codec")]
    NoCommonCodec,
    /// The transport protocol of the audio line is none that the leg carries.
    #[error("transport protocol not supported: {0}")]
    Protocol(String),
    /// An address that cannot be sent to: a name, a multicast group, no address.
    #[error("no usable connection address")]
    Address,
    /// RTP and RTCP must share a port on the access leg, RFC 8835 §3.4.
    #[error("a=rtcp-mux is required")]
    NoRtcpMux,
    /// No ICE credentials, RFC 8839 §5.4.
    #[error("a=ice-ufrag and a=ice-pwd are required")]
    NoIce,
    /// ICE credentials that RFC 8839 §5.4 does not allow.
    #[error("a=ice-ufrag or a=ice-pwd is too short, too long or malformed")]
    BadIce,
    /// No certificate fingerprint, RFC 8122 §5.
    #[error("a=fingerprint is required")]
    NoFingerprint,
    /// No fingerprint of a hash that is good enough.
    #[error("a=fingerprint needs sha-256 or stronger")]
    WeakFingerprint,
    /// A fingerprint that does not have the length of its hash.
    #[error("malformed a=fingerprint")]
    BadFingerprint,
    /// An unknown part in the DTLS handshake, RFC 4145 §4.
    #[error("a=setup not usable")]
    BadSetup,
}

impl SdpError {
    /// The status code of the response that turns an offer away: 400 for a broken
    /// description, 413 for a huge one, 488 for one that is not for us.
    #[must_use]
    pub fn status_code(&self) -> u16 {
        match self {
            SdpError::TooLarge(_) => 413,
            SdpError::Malformed(_) | SdpError::AnswerMismatch(_) => 400,
            SdpError::NoAudio
            | SdpError::AudioRefused
            | SdpError::NoCommonCodec
            | SdpError::Protocol(_)
            | SdpError::Address
            | SdpError::NoRtcpMux
            | SdpError::NoIce
            | SdpError::BadIce
            | SdpError::NoFingerprint
            | SdpError::WeakFingerprint
            | SdpError::BadFingerprint
            | SdpError::BadSetup => 488,
        }
    }

    /// The code of the Warning header that goes with it, RFC 3261 §20.43; its text
    /// is this error's `Display`.
    #[must_use]
    pub fn warning_code(&self) -> u16 {
        match self {
            SdpError::NoAudio | SdpError::AudioRefused => 304,
            SdpError::NoCommonCodec => 305,
            SdpError::Protocol(_) => 302,
            SdpError::Address => 301,
            SdpError::TooLarge(_)
            | SdpError::Malformed(_)
            | SdpError::AnswerMismatch(_)
            | SdpError::NoRtcpMux
            | SdpError::NoIce
            | SdpError::BadIce
            | SdpError::NoFingerprint
            | SdpError::WeakFingerprint
            | SdpError::BadFingerprint
            | SdpError::BadSetup => 399,
        }
    }
}
