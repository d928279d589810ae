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
    agent.on("disconnected", ({ code, reason }) => report("disconnected", { code, reason }));
    agent.on("registered", ({ response }) => {
      report("registered", { status: response.status_code, identities: response.getHeader("P-Associated-URI") });
    });
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
    agent.on("newMessage", ({ originator, message, request }) => {
      if (originator !== "remote") return;
      report("message", { from: request.from.uri.toString(), text: request.body });
      message.accept();
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

  call(target, anonymous = false) {
    const { extraHeaders } = this.options;
    const options = { mediaStream: this.microphone, pcConfig: { iceServers: [] }, extraHeaders, anonymous };
    this.adopt(this.agent.call(target, options));
  }

  /// What is asked for goes on in this session; the one before it is kept for a transfer.
  adopt(session) {
    this.previous = this.session;
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
    session.on("refer", ({ request, accept }) => {
      report("referred", { to: request.refer_to.uri.toString() });
      const options = { mediaStream: this.microphone, pcConfig: { iceServers: [] } };
      accept((referred) => this.adopt(referred), options);
    });
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

  /// Ends the call before this one.
  hangupOther() {
    this.previous.terminate();
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

  /// Has the far end call somebody else.
  refer(target) {
    this.transfer(this.session, target);
  }

  /// Has the far end of the call before this one take this one over.
  referToOther() {
    this.transfer(this.previous, this.session.remote_identity.uri.toString(), this.session);
  }

  transfer(session, target, replaces) {
    const { report } = this;
    session.refer(target, {
      replaces,
      eventHandlers: {
        requestSucceeded: ({ response }) => report("referAnswered", { status: response.status_code }),
        requestFailed: ({ response }) => report("referAnswered", { status: response?.status_code ?? 0 }),
        accepted: ({ status_line }) => report("transferred", { status: status_line.status_code }),
        failed: ({ status_line }) => report("transferred", { status: status_line.status_code }),
      },
    });
  }

  message(target, text) {
    const { report } = this;
    this.agent.sendMessage(target, text, {
      eventHandlers: {
        succeeded: ({ response }) => report("messageAnswered", { status: response.status_code }),
        failed: ({ response }) => report("messageAnswered", { status: response?.status_code ?? 0 }),
      },
    });
  }

  subscribe(target, event) {
    const { report } = this;
    this.subscriber = this.agent.subscribe(target, event, "application/simple-message-summary", {
      expires: 600,
      params: {},
    });
    this.subscriber.on("accepted", () => report("subscribed"));
    this.subscriber.on("notify", (final, request, body) => report("notified", { final, text: body }));
    this.subscriber.on("terminated", (code, reason) => report("unsubscribed", { code, reason }));
    this.subscriber.subscribe();
  }

  unsubscribe() {
    this.subscriber.terminate();
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
