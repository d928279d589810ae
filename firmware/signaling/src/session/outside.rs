//! What a session needs of the rest of the control plane: the way to each of its two
//! peers, the media plane, time and chance.

use iq::{Command, Leg, Now};
use rand_chacha::ChaCha20Rng;

use super::rivals::Device;
use crate::config::{CallConfig, ServiceConfig};
use crate::event::Event;
use crate::message::{Headers, NameAddr, Request, Response};
use crate::transaction::{ClientTransactionId, ServerTransactionId};

/// The world as one session sees it. Whoever implements it knows the session's user:
/// which connection his browser is on by now, and which port he has towards the IMS.
pub trait Outside {
    /// The time.
    fn now(&self) -> Now;

    /// Chance.
    fn rng(&mut self) -> &mut ChaCha20Rng;

    /// The settings of calls.
    fn config(&self) -> &CallConfig;

    /// What the user's network offers beside a plain call.
    fn services(&self) -> &ServiceConfig;

    /// Whether early media must be granted by the network to be heard (RFC 5009).
    fn gates_early_media(&self) -> bool {
        false
    }

    /// From now on the browser of a call is this one of its user's.
    fn turn_to(&mut self, device: Device);

    /// Whether a peer can be sent to just now: a browser may be away.
    fn is_reachable(&self, leg: Leg) -> bool;

    /// The box's own Contact on a leg, for one who has said who he is or who wants no name.
    fn contact(&self, leg: Leg, is_anonymous: bool) -> NameAddr;

    /// Sends a request, not ACK and not CANCEL, after adding Via, Max-Forwards if there is
    /// none, and User-Agent. `None` if the peer cannot be reached.
    fn send_request(&mut self, leg: Leg, request: Request) -> Option<ClientTransactionId>;

    /// Sends the ACK to a 2xx, with a Via of its own.
    fn send_ack(&mut self, leg: Leg, request: Request);

    /// Cancels an INVITE that was sent and has got a provisional response; the headers
    /// (Reason) are added to the CANCEL.
    fn cancel(&mut self, invite: ClientTransactionId, headers: Headers);

    /// Answers a request, after adding Server. A 2xx to an INVITE may be sent again.
    fn respond(&mut self, leg: Leg, transaction: ServerTransactionId, response: Response);

    /// What of a message's headers may be told on a leg, when the message came from the
    /// other one.
    fn carry(&self, towards: Leg, headers: &Headers) -> Headers;

    /// Tells the media plane something.
    fn iq(&mut self, command: Command);

    /// Tells the operator something.
    fn event(&mut self, event: Event);
}
