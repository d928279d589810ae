// A client on JsSIP.
import JsSIP from "jssip";

export class JsSipClient {
  constructor(options, { microphone, listen, report }) {
    this.options = options;
    this.microphone = microphone;
    this.listen = listen;
    this.report = report;
    this.session = null;
  }

  async start() {
    const { server, user, domain, password, token, extraHeaders } = this.options;
    this.socket = new JsSIP.WebSocketInterface(server);
    if (this.options.trace) this.record();
    this.agent = new JsSIP.UA({
      sockets: [this.socket],
      uri: `sip:${user}@${domain}`,
      authorization_user: `${user}@${domain}`,
      ...(token ? { authorization_jwt: `Bearer ${token}` } : { password }),
      register: false,
      register_expires: this.options.expires ?? 300,
      session_timers: this.options.sessionTimers ?? false,
      connection_recovery_min_interval: 1,
      connection_recovery_max_interval: 2,
      user_agent: "interop",
    });
    const { agent, report } = this;
    agent.on("connected", () => report("connected"));
    agent.on("disconnected", () => report("disconnected"));
    agent.on("registered", ({ response }) => report("registered", { status: response.status_code }));
    agent.on("unregistered", () => report("unregistered"));
    agent.on("registrationFailed", ({ response, cause }) =>
      report("registrationFailed", { status: response?.status_code ?? 0, cause }),
    );
    agent.on("newRTCSession", ({ session, originator, request }) => {
      if (originator === "remote") {
        this.adopt(session);
        report("incoming", { from: request.from.uri.toString(), offer: Boolean(request.body) });
      }
    });
    if (extraHeaders) agent.registrator().setExtraHeaders(extraHeaders);
    await new Promise((connected) => {
      agent.once("connected", connected);
      agent.once("disconnected", connected);
      agent.start();
    });
  }

  /// Keeps every message, in order, with who sent it.
  record() {
    this.trace = [];
    const { connect, send } = this.socket;
    this.socket.send = (message) => {
      this.trace.push({ from: "browser", message: String(message) });
      return send.call(this.socket, message);
    };
    this.socket.connect = () => {
      connect.call(this.socket);
      const take = this.socket._ws.onmessage;
      this.socket._ws.onmessage = (event) => {
        this.trace.push({ from: "gateway", message: String(event.data) });
        take(event);
      };
    };
  }

  /// Every request from now on carries this token.
  renew(token) {
    this.agent.set("authorization_jwt", `Bearer ${token}`);
  }

  register() {
    this.agent.register();
  }

  unregister() {
    this.agent.unregister();
  }

  stop() {
    this.agent.stop();
  }

  call(target) {
    const { extraHeaders } = this.options;
    this.adopt(this.agent.call(target, { mediaStream: this.microphone, pcConfig: { iceServers: [] }, extraHeaders }));
  }

  adopt(session) {
    this.session = session;
    const { report } = this;
    if (session.connection) {
      this.listen(session.connection);
    } else {
      session.on("peerconnection", ({ peerconnection }) => this.listen(peerconnection));
    }
    session.on("progress", ({ response, originator }) => {
      if (originator === "remote") report("progress", { status: response.status_code, answer: Boolean(response.body) });
    });
    session.on("accepted", ({ originator }) => report("accepted", { originator }));
    session.on("confirmed", () => report("confirmed"));
    session.on("ended", ({ originator, cause }) => report("ended", { originator, cause }));
    session.on("failed", ({ originator, cause, message }) =>
      report("failed", { originator, cause, status: message?.status_code ?? 0 }),
    );
    session.on("hold", ({ originator }) => report("hold", { originator }));
    session.on("unhold", ({ originator }) => report("unhold", { originator }));
    session.on("reinvite", () => report("reinvite"));
    session.on("newDTMF", ({ originator, dtmf }) => {
      if (originator === "remote") report("dtmf", { tone: dtmf.tone });
    });
  }

  answer() {
    this.session.answer({ mediaStream: this.microphone, pcConfig: { iceServers: [] } });
  }

  reject(status) {
    this.session.terminate({ status_code: status });
  }

  hangup() {
    this.session.terminate();
  }

  hold() {
    return this.session.hold();
  }

  resume() {
    return this.session.unhold();
  }

  dtmf(tones, how) {
    const transportType = how === "info" ? "INFO" : "RFC2833";
    this.session.sendDTMF(tones, { transportType, duration: 200, interToneGap: 200 });
  }

  drop() {
    this.socket._ws.close();
  }

  restartIce() {
    return this.session.renegotiate({ rtcOfferConstraints: { iceRestart: true } });
  }

  connections() {
    return this.session?.connection ? [this.session.connection] : [];
  }
}
