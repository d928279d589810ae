// A client on SIP.js.
import {
  Inviter,
  Messager,
  Registerer,
  RegistererState,
  SessionState,
  Subscriber,
  SubscriptionState,
  UserAgent,
  Web,
} from "sip.js";

export class SipJsClient {
  constructor(options, { microphone, listen, report }) {
    this.options = options;
    this.microphone = microphone;
    this.listen = listen;
    this.report = report;
    this.session = null;
  }

  /// The header that every request carries if the user logs in by token.
  get authorization() {
    const { token } = this.options;
    return token ? [`Authorization: Bearer ${token}`] : [];
  }

  /// Every REGISTER and INVITE from now on carries this token.
  renew(token) {
    this.options.token = token;
  }

  async start() {
    const { server, user, domain, password } = this.options;
    this.agent = new UserAgent({
      uri: UserAgent.makeURI(`sip:${user}@${domain}`),
      authorizationUsername: `${user}@${domain}`,
      authorizationPassword: password,
      transportOptions: { server, traceSip: false },
      logLevel: "error",
      userAgentString: "interop",
      sipExtension100rel: "Supported",
      sessionDescriptionHandlerFactory: Web.defaultSessionDescriptionHandlerFactory(async () => this.microphone.clone()),
      sessionDescriptionHandlerFactoryOptions: { iceGatheringTimeout: 500, peerConnectionConfiguration: { iceServers: [] } },
      delegate: {
        onConnect: () => this.report("connected"),
        onDisconnect: (error) => {
          this.report("disconnected");
          if (error) this.reconnect();
        },
        onMessage: (message) => {
          const { request } = message;
          this.report("message", { from: request.from.uri.toString(), text: request.body });
          message.accept();
        },
        onInvite: (invitation) => {
          this.adopt(invitation);
          this.report("incoming", {
            from: invitation.remoteIdentity.uri.toString(),
            offer: Boolean(invitation.request.body),
          });
        },
      },
    });
    this.registerer = new Registerer(this.agent, {
      expires: this.options.expires ?? 300,
      regId: 1,
      instanceId: this.options.instance ?? crypto.randomUUID(),
    });
    this.registerer.stateChange.addListener((state) => {
      if (state === RegistererState.Unregistered) this.report("unregistered");
    });
    await this.agent.start();
  }

  async reconnect() {
    for (let attempt = 0; attempt < 20; attempt += 1) {
      await new Promise((later) => setTimeout(later, 500));
      try {
        await this.agent.reconnect();
        await this.register();
        return;
      } catch {
        // The next attempt may do better.
      }
    }
  }

  register() {
    return this.registerer.register({
      requestOptions: { extraHeaders: this.authorization },
      requestDelegate: {
        onAccept: ({ message }) => {
          this.report("registered", { status: message.statusCode, identities: message.getHeader("P-Associated-URI") });
        },
        onReject: ({ message }) => this.report("registrationFailed", { status: message.statusCode, cause: message.reasonPhrase }),
      },
    });
  }

  unregister() {
    return this.registerer.unregister({ requestOptions: { extraHeaders: this.authorization } });
  }

  stop() {
    return this.agent.stop();
  }

  async call(target, anonymous = false) {
    const inviter = new Inviter(this.agent, UserAgent.makeURI(target), {
      anonymous,
      earlyMedia: true,
      extraHeaders: this.authorization,
    });
    this.adopt(inviter);
    await inviter.invite({
      requestDelegate: {
        onProgress: ({ message }) => this.report("progress", { status: message.statusCode, answer: Boolean(message.body) }),
        onAccept: () => this.report("accepted", { originator: "remote" }),
        onReject: ({ message }) => this.fail({ originator: "remote", status: message.statusCode, cause: message.reasonPhrase }),
      },
    });
  }

  /// Reports once that a call did not come about.
  fail(details) {
    if (!this.failed) this.report("failed", details);
    this.failed = true;
  }

  /// What is asked for goes on in this session; the one before it is kept for a transfer.
  adopt(session) {
    this.previous = this.session;
    this.session = session;
    this.failed = false;
    this.isOutgoing = session instanceof Inviter;
    session.delegate = {
      onSessionDescriptionHandler: (handler) => this.listen(handler.peerConnection),
      onInvite: () => {
        this.report("reinvite");
        const direction = this.remoteDirection();
        if (direction) this.report(direction === "sendonly" || direction === "inactive" ? "hold" : "unhold", { originator: "remote" });
      },
      onInfo: (info) => {
        const tone = /Signal\s*=\s*(\S)/i.exec(info.request.body)?.[1];
        info.accept();
        if (tone) this.report("dtmf", { tone });
      },
      onRefer: async (referral) => {
        this.report("referred", { to: referral.referTo.uri.toString() });
        await referral.accept();
        const inviter = referral.makeInviter({ earlyMedia: true });
        this.adopt(inviter);
        await inviter.invite();
      },
      onBye: (bye) => {
        bye.accept();
        this.byeReceived = true;
      },
      onCancel: () => {
        this.cancelled = true;
      },
    };
    session.stateChange.addListener((state) => {
      if (state === SessionState.Established) {
        this.established = true;
        this.report("confirmed");
      } else if (state === SessionState.Terminated) {
        if (this.established) {
          this.report("ended", { originator: this.byeReceived ? "remote" : "local", cause: "Terminated" });
        } else if (!this.isOutgoing) {
          this.fail({ originator: this.cancelled ? "remote" : "local", cause: "Canceled", status: 0 });
        } else {
          // An answer to the INVITE, if there is one, is told just after this.
          setTimeout(() => this.fail({ originator: "local", cause: "Canceled", status: 0 }), 100);
        }
        this.established = false;
        this.byeReceived = false;
        this.cancelled = false;
      }
    });
  }

  remoteDirection() {
    const sdp = this.connections()[0]?.remoteDescription?.sdp ?? "";
    return /a=(sendrecv|sendonly|recvonly|inactive)/.exec(sdp)?.[1];
  }

  answer() {
    return this.session.accept();
  }

  reject(status) {
    return this.session.reject({ statusCode: status });
  }

  hangup() {
    if (this.session.state === SessionState.Established) return this.session.bye();
    return this.isOutgoing ? this.session.cancel() : this.session.reject();
  }

  /// Ends the call before this one.
  hangupOther() {
    return this.previous.bye();
  }

  hold() {
    return this.setHold(true);
  }

  resume() {
    return this.setHold(false);
  }

  setHold(hold) {
    this.session.sessionDescriptionHandlerOptionsReInvite = { hold };
    return this.session.invite({
      requestDelegate: {
        onAccept: () => this.report(hold ? "hold" : "unhold", { originator: "local" }),
        onReject: ({ message }) => this.report("holdFailed", { status: message.statusCode }),
      },
    });
  }

  async dtmf(tones, how) {
    if (how === "info") {
      for (const tone of tones) {
        await this.session.info({
          requestOptions: {
            body: {
              contentDisposition: "render",
              contentType: "application/dtmf-relay",
              content: `Signal=${tone}\r\nDuration=200`,
            },
          },
        });
      }
    } else {
      this.session.sessionDescriptionHandler.sendDtmf(tones, { duration: 200, interToneGap: 200 });
    }
  }

  /// Has the far end call somebody else.
  refer(target) {
    return this.transfer(this.session, UserAgent.makeURI(target));
  }

  /// Has the far end of the call before this one take this one over.
  referToOther() {
    return this.transfer(this.previous, this.session);
  }

  async transfer(session, target) {
    const answered = ({ message }) => this.report("referAnswered", { status: message.statusCode });
    await session.refer(target, {
      requestDelegate: { onAccept: answered, onReject: answered },
      onNotify: (notification) => {
        const status = Number(/^SIP\/2\.0 (\d+)/.exec(notification.request.body)?.[1]);
        notification.accept();
        if (status >= 200) this.report("transferred", { status });
      },
    });
  }

  message(target, text) {
    const answered = ({ message }) => this.report("messageAnswered", { status: message.statusCode });
    const messager = new Messager(this.agent, UserAgent.makeURI(target), text, "text/plain");
    return messager.message({ requestDelegate: { onAccept: answered, onReject: answered } });
  }

  subscribe(target, event) {
    this.subscriber = new Subscriber(this.agent, UserAgent.makeURI(target), event, { expires: 600 });
    this.subscriber.delegate = {
      onNotify: (notification) => {
        const { request } = notification;
        notification.accept();
        const final = /terminated/.test(request.getHeader("Subscription-State"));
        this.report("notified", { final, text: request.body });
      },
    };
    this.subscriber.stateChange.addListener((state) => {
      if (state === SubscriptionState.Subscribed) this.report("subscribed");
      if (state === SubscriptionState.Terminated) this.report("unsubscribed");
    });
    return this.subscriber.subscribe();
  }

  unsubscribe() {
    return this.subscriber.unsubscribe();
  }

  drop() {
    this.agent.transport._ws.close();
  }

  restartIce() {
    this.connections()[0].restartIce();
    return this.session.invite();
  }

  connections() {
    const connection = this.session?.sessionDescriptionHandler?.peerConnection;
    return connection ? [connection] : [];
  }
}
