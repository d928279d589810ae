// One telephone account and at most one call, on JsSIP.
import JsSIP from "jssip";

/**
 * Events (all CustomEvents): `account` {state: connecting|registered|offline|refused, text},
 * `incoming` {peer}, `call` {state, text}, `hold` {held, byFarEnd}, `streams` {local, remote, connection}.
 */
export class Phone extends EventTarget {
  constructor({ domain, webSocketUrl, iceServers, registerExpires }) {
    super();
    this.domain = domain;
    this.webSocketUrl = webSocketUrl;
    this.iceServers = iceServers ?? [];
    this.registerExpires = registerExpires ?? 300;
    this.session = undefined;
  }

  /** Opens the WebSocket and registers. */
  signIn(user, password) {
    const address = user.includes("@") ? user : `${user}@${this.domain}`;
    this.ua = new JsSIP.UA({
      uri: `sip:${address}`,
      authorization_user: address,
      password,
      sockets: [new JsSIP.WebSocketInterface(this.webSocketUrl)],
      instance_id: instanceId(address),
      register_expires: this.registerExpires,
      connection_recovery_min_interval: 1,
      connection_recovery_max_interval: 16,
      session_timers: true,
      user_agent: "Gatehouse softphone",
    });
    this.ua.on("connecting", () => this.account("connecting", "Connecting"));
    this.ua.on("connected", () => this.account("connecting", "Signing in"));
    this.ua.on("registered", () => this.account("registered", `Ready as ${user}`));
    this.ua.on("unregistered", () => this.account("offline", "Signed out"));
    this.ua.on("disconnected", () => this.account("offline", "No connection, trying again"));
    this.ua.on("registrationFailed", ({ response, cause }) => this.refused(response, cause));
    this.ua.on("newRTCSession", (data) => this.adopt(data));
    this.ua.start();
  }

  /** De-registers and closes the WebSocket. */
  signOut() {
    const { ua } = this;
    this.ua = undefined;
    if (!ua) return;
    ua.removeAllListeners();
    ua.stop();
    this.account("offline", "Not signed in");
  }

  call(target) {
    const uri = /^(sips?|tel):/.test(target) ? target : `sip:${target.replace(/[\s()/-]/g, "")}@${this.domain}`;
    this.ua.call(target.includes("@") && !/^sips?:/.test(target) ? `sip:${target}` : uri, this.media());
  }

  answer() {
    this.session?.answer(this.media());
  }

  hangUp() {
    if (!this.session) return;
    const declined = this.session.direction === "incoming" && !this.session.isEstablished();
    this.session.terminate(declined ? { status_code: 486, reason_phrase: "Busy Here" } : undefined);
  }

  mute(on) {
    if (on) this.session?.mute({ audio: true });
    else this.session?.unmute({ audio: true });
  }

  hold(on) {
    return on ? this.session?.hold() : this.session?.unhold();
  }

  sendKey(key) {
    this.session?.sendDTMF(key, { duration: 120, interToneGap: 80, transportType: "RFC2833" });
  }

  media() {
    return {
      mediaConstraints: { audio: { echoCancellation: true, noiseSuppression: true, autoGainControl: true }, video: false },
      pcConfig: { iceServers: this.iceServers },
      sessionTimersExpires: 1800,
    };
  }

  account(state, text) {
    this.dispatchEvent(new CustomEvent("account", { detail: { state, text } }));
  }

  refused(response, cause) {
    const status = response?.status_code;
    const text =
      status === 401 || status === 403 || cause === JsSIP.C.causes.AUTHENTICATION_ERROR
        ? "User or password is wrong"
        : status === 404 || status === 604
          ? "This user is not known"
          : status
            ? `The network answered ${status} ${response.reason_phrase}`
            : "The network did not answer";
    this.account("refused", text);
  }

  adopt({ session, originator }) {
    if (this.session) {
      session.terminate({ status_code: 486, reason_phrase: "Busy Here" });
      return;
    }
    this.session = session;
    const incoming = originator === "remote";
    const peer = session.remote_identity.display_name || session.remote_identity.uri.user || "Unknown";
    const tell = (state, text) => this.dispatchEvent(new CustomEvent("call", { detail: { state, text, peer, incoming } }));

    session.on("icecandidate", ({ ready }) => {
      clearTimeout(this.gathering);
      this.gathering = setTimeout(ready, GATHERING_QUIET_MS);
    });
    const follow = (connection) => {
      connection.addEventListener("track", () => {
        const remote = new MediaStream(connection.getReceivers().map((receiver) => receiver.track).filter(Boolean));
        const local = new MediaStream(connection.getSenders().map((sender) => sender.track).filter(Boolean));
        this.dispatchEvent(new CustomEvent("streams", { detail: { local, remote, connection } }));
      });
      connection.addEventListener("iceconnectionstatechange", () => {
        if (connection.iceConnectionState === "failed") this.restartIce(session, connection);
      });
    };
    if (session.connection) follow(session.connection);
    session.on("peerconnection", ({ peerconnection }) => follow(peerconnection));
    session.on("sending", () => tell("calling", "Calling"));
    session.on("progress", ({ response }) => {
      if (!incoming) tell(response?.body ? "early" : "ringing", "Ringing");
    });
    session.on("accepted", () => tell("connecting", "Connecting"));
    session.on("confirmed", () => tell("up", "Connected"));
    const held = () => this.dispatchEvent(new CustomEvent("hold", { detail: session.isOnHold() }));
    session.on("hold", held);
    session.on("unhold", held);
    const over = (text) => {
      clearTimeout(this.gathering);
      this.session = undefined;
      tell("over", text);
    };
    session.on("ended", ({ cause, originator: by }) => over(by === "remote" ? "The far end hung up" : endedText(cause)));
    session.on("failed", ({ message, cause }) => over(failedText(message?.status_code, message?.reason_phrase, cause)));
    session.on("getusermediafailed", () => over("The browser gave no microphone: allow it for this page"));

    if (incoming) this.dispatchEvent(new CustomEvent("incoming", { detail: { peer } }));
    else tell("calling", "Calling");
  }

  restartIce(session, connection) {
    if (session.isEstablished() && this.ua?.isConnected() && connection.signalingState === "stable") {
      session.renegotiate({ rtcOfferConstraints: { iceRestart: true } });
    }
  }
}

/** Candidates that come later than this after the last one are not waited for. */
const GATHERING_QUIET_MS = 150;

/** One name per account and tab, kept over a reload, so that the box sees the same device again. */
function instanceId(address) {
  const key = `gatehouse-instance ${address}`;
  let id = sessionStorage.getItem(key);
  if (!id) {
    id = crypto.randomUUID();
    sessionStorage.setItem(key, id);
  }
  return id;
}

function endedText(cause) {
  return cause === JsSIP.C.causes.RTP_TIMEOUT ? "Ended: no audio arrived" : "Call ended";
}

function failedText(status, reason, cause) {
  const known = {
    403: "This call is not allowed",
    404: "This number does not exist",
    408: "The far end does not answer",
    480: "Not available at the moment",
    484: "The number is incomplete",
    486: "Busy",
    487: "Call cancelled",
    488: "No common audio format",
    504: "The telephone network does not answer",
    600: "Busy",
    603: "Declined",
    604: "This number does not exist",
  };
  if (known[status]) return known[status];
  if (status) return `Call failed: ${status} ${reason ?? ""}`.trim();
  return cause === JsSIP.C.causes.CANCELED ? "Call cancelled" : `Call failed: ${cause}`;
}
